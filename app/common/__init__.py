"""Helpers that every package may use: callers, text, JSON, addresses, HTTP sessions."""
