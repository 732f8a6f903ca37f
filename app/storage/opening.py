"""Which engine keeps what: a storage account where there is one, else a file.

The Azure packages are imported in a thread when the first call needs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from app.storage.late import LateQueue, LateStore
from app.storage.ledger import Store
from app.storage.queue import Inbox
from app.storage.sqlite import SqliteStore

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
        from app.storage.azure_account import open_table  # noqa: PLC0415

        return open_table(where, TABLE)

    return LateStore(opened)


def open_queue(where: Path | StorageAccount, name: str, store: Store) -> Inbox:
    """`store` is the one that was opened at the same place."""
    if isinstance(store, SqliteStore):
        return store.queue(name)
    assert isinstance(where, StorageAccount)

    def opened() -> Inbox:
        from app.storage.azure_account import open_azure_queue  # noqa: PLC0415

        return open_azure_queue(where, name)

    return LateQueue(opened)
