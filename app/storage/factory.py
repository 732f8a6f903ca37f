"""Which engine keeps what: a storage account where there is one, else a file.

The Azure packages are imported in a thread when the first call needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from app.storage.lazy import LazyQueue, LazyStore
from app.storage.ledger import Store
from app.storage.queue import MessageReceiver
from app.storage.sqlite.sqlite_store import SqliteStore

TABLE = "conversations"


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """A connection string, or both services' addresses and the managed identity's client id."""

    connection_string: SecretStr | None = None
    tables: str = ""
    queues: str = ""
    client_id: str | None = None


def open_store(where: Path | StorageAccount) -> Store:
    if isinstance(where, Path):
        return SqliteStore(where)

    def opened() -> Store:
        from app.storage.azure.azure_account import open_table  # noqa: PLC0415

        return open_table(where, TABLE)

    return LazyStore(opened)


def open_queue(where: Path | StorageAccount, name: str, store: Store) -> MessageReceiver:
    """`store` is the one that was opened at the same place."""
    if isinstance(store, SqliteStore):
        return store.queue(name)
    assert isinstance(where, StorageAccount)

    def opened() -> MessageReceiver:
        from app.storage.azure.azure_account import open_azure_queue  # noqa: PLC0415

        return open_azure_queue(where, name)

    return LazyQueue(opened)
