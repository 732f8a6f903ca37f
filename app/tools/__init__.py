"""What a tool is, the registry of a turn's tools, and the clock."""
