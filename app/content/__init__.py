"""What an answer consists of besides its text: blocks. Meaning only."""
