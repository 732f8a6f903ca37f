"""Who may call, and the bot's own tokens."""
