"""Everything that is kept in one PostgreSQL database."""

from __future__ import annotations

from app.storage.factory import Storage
from app.storage.postgres.postgres_store import PostgresStore
from app.storage.postgres_database import PostgresDatabase


def open_database(database: PostgresDatabase) -> Storage:
    """Nothing is connected before its first call."""
    store = PostgresStore(database)
    return Storage(store, store.documents(), store.artifacts(), store.queue)
