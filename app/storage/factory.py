"""Which engine keeps what: a storage account where there is one, else a file.

The Azure packages are imported in a thread when the first call needs them.
"""

from __future__ import annotations

from pathlib import Path

from app.storage.documents import DocumentStore
from app.storage.lazy import lazy
from app.storage.ledger import Store
from app.storage.queue import MessageReceiver
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_account import StorageAccount

CONVERSATIONS_TABLE = "conversations"
DOCUMENTS_TABLE = "documents"


def open_store(where: Path | StorageAccount) -> Store:
    if isinstance(where, Path):
        return SqliteStore(where)

    def opened() -> Store:
        from app.storage.azure.azure_account import open_table  # noqa: PLC0415

        return open_table(where, CONVERSATIONS_TABLE)

    return lazy(opened)


def open_documents(where: Path | StorageAccount, store: Store) -> DocumentStore:
    """`store` is the one that was opened at the same place."""
    if isinstance(store, SqliteStore):
        return store.documents()
    assert isinstance(where, StorageAccount)

    def opened() -> DocumentStore:
        from app.storage.azure.azure_account import open_documents_table  # noqa: PLC0415

        return open_documents_table(where, DOCUMENTS_TABLE)

    return lazy(opened)


def open_queue(where: Path | StorageAccount, name: str, store: Store) -> MessageReceiver:
    """`store` is the one that was opened at the same place."""
    if isinstance(store, SqliteStore):
        return store.queue(name)
    assert isinstance(where, StorageAccount)

    def opened() -> MessageReceiver:
        from app.storage.azure.azure_account import open_azure_queue  # noqa: PLC0415

        return open_azure_queue(where, name)

    return lazy(opened)
