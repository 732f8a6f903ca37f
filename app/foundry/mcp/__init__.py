"""The same tools over MCP."""
