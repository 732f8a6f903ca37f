"""What is to be done about a failed run."""
