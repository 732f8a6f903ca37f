"""Every decision and its outcome: stored, exported, shown, and learned from."""
