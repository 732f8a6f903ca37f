"""The same agent for programs, notebooks and browsers: an HTTP server for Databricks Apps, with a chat page."""
