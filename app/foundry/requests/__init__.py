"""Requests of Foundry's agents on storage queues: each is recorded, answered once, and its value sent back."""
