"""One SQLite file, for a laptop."""
