"""Sends to the channel, and says as types why it did not take something."""
