"""What every MCP server here has in common: the endpoint, tools that only read, and progress while one runs."""
