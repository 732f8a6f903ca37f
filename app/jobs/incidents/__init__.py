"""Incidents: what failed for one cause, what is proposed, and what became of it."""
