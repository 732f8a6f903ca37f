"""Which engine keeps what: a storage account where there is one, else a file.

A PostgreSQL database is opened in `postgres/postgres_storage.py`, which the Function App does not have. The Azure
packages are imported in a thread when the first call needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.storage.answer_links import AnswerLinks
from app.storage.artifacts import ArtifactStore
from app.storage.documents import DocumentStore
from app.storage.lazy import lazy
from app.storage.ledger import ConversationStore
from app.storage.queue import MessageReceiver
from app.storage.remote_queue import RemoteQueue
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_account import StorageAccount

if TYPE_CHECKING:
    from app.storage.azure.blob_artifacts import BlobArtifacts

CONVERSATIONS_TABLE = "conversations"
DOCUMENTS_TABLE = "documents"
ARTIFACTS_CONTAINER = "artifacts"
ANSWERS_CONTAINER = "foundry-answers"


@dataclass(frozen=True, slots=True)
class Storage:
    """Everything that is kept at one place. The caller of `open_queue` closes the queue."""

    conversations: ConversationStore
    documents: DocumentStore
    artifacts: ArtifactStore
    open_queue: Callable[[str], MessageReceiver]

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            # Each is closed even where another fails.
            for part in (self.conversations, self.documents, self.artifacts):
                closing.push_async_callback(part.close)


def open_storage(where: Path | StorageAccount) -> Storage:
    return _open_file(where) if isinstance(where, Path) else _open_account(where)


def open_remote_queue(endpoint: str, name: str, account: StorageAccount) -> RemoteQueue:
    """A queue of another program, at the address of a queue service, signed in to as `account` is."""

    def opened() -> RemoteQueue:
        from app.storage.azure.azure_clients import open_azure_remote_queue  # noqa: PLC0415

        return open_azure_remote_queue(endpoint, name, account)

    return lazy(opened)


def open_answer_links(where: Path | StorageAccount) -> AnswerLinks | None:
    """None for a file, which nobody else can read."""
    if isinstance(where, Path):
        return None

    def open_links() -> AnswerLinks:
        from app.storage.azure.azure_clients import open_links  # noqa: PLC0415

        return open_links(where, ANSWERS_CONTAINER)

    return lazy(open_links)


def _open_file(path: Path) -> Storage:
    store = SqliteStore(path)
    return Storage(store, store.documents(), store.artifacts(), store.queue)


def _open_account(account: StorageAccount) -> Storage:
    def open_conversations() -> ConversationStore:
        from app.storage.azure.azure_clients import open_table  # noqa: PLC0415

        return open_table(account, CONVERSATIONS_TABLE, artifacts)

    def open_documents() -> DocumentStore:
        from app.storage.azure.azure_clients import open_documents_table  # noqa: PLC0415

        return open_documents_table(account, DOCUMENTS_TABLE)

    def open_artifacts() -> BlobArtifacts:
        from app.storage.azure.azure_clients import open_container  # noqa: PLC0415

        return open_container(account, ARTIFACTS_CONTAINER)

    def open_queue(name: str) -> MessageReceiver:
        from app.storage.azure.azure_clients import open_azure_queue  # noqa: PLC0415

        return open_azure_queue(account, name)

    artifacts = lazy(open_artifacts)
    return Storage(
        lazy(open_conversations),
        lazy(open_documents),
        artifacts,
        lambda name: lazy(lambda: open_queue(name)),
    )
