"""Without a cloud: function host, stand-in workspace, terminal chat. Never deployed."""
