"""What is built from what."""
