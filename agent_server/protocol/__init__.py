"""Requests, answers and events of every task type. Pure: no I/O."""
