"""Shows a turn's events as its channel allows."""
