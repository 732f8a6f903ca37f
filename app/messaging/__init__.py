"""Writing first: conversation references, proactive messages, and what a button of a card does. `bot/` sends."""
