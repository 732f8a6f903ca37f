"""The agent and its tools over MCP."""
