"""One client of the workspace's REST API: credentials, identity per request, typed errors."""
