"""Responses that are kept: each is a turn, with an event log that anybody may follow."""
