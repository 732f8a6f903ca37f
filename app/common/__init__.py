"""What every room may use: callers, text, JSON, addresses, HTTP sessions."""
