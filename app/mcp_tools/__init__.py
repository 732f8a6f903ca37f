"""Tools of MCP servers: Databricks' managed ones and any other."""
