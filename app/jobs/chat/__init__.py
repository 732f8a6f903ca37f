"""Chats that watch jobs: what they are told of an incident, what buttons decide, what people may ask. `bot/` sends."""
