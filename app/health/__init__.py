"""Whether the app is configured, and whether what it depends on answers."""
