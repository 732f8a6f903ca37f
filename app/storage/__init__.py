"""Conversations, the ledger, documents, artifacts and queues: contracts, kept by SQLite and by Azure."""
