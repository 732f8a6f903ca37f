"""Access tokens that callers bring: read, and checked with the keys of who issued them."""
