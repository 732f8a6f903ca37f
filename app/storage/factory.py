"""Which engine keeps what: a storage account where there is one, else a file.

A PostgreSQL database is opened in `postgres/postgres_storage.py`, which the Function App does not have. The Azure
packages are imported in a thread when the first call needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
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
from app.storage.storage_credential import StorageCredential

if TYPE_CHECKING:
    from app.storage.azure.blob_artifacts import BlobArtifacts

CONVERSATIONS_TABLE = "conversations"
DOCUMENTS_TABLE = "documents"
ARTIFACTS_CONTAINER = "artifacts"
ANSWERS_CONTAINER = "foundry-answers"


@dataclass(frozen=True, slots=True)
class Storage:
    """Everything that is kept at one place. The caller of `open_queue` closes the queue, before the storage."""

    conversations: ConversationStore
    documents: DocumentStore
    artifacts: ArtifactStore
    open_queue: Callable[[str], MessageReceiver]
    credential: StorageCredential = field(default_factory=StorageCredential)

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            # Each is closed even where another fails, the credential last.
            for part in (self.credential, self.conversations, self.documents, self.artifacts):
                closing.push_async_callback(part.close)


def open_storage(where: Path | StorageAccount, credential: StorageCredential | None = None) -> Storage:
    """All clients of an account sign in with `credential`, or one of its own, which is closed with the storage."""
    if isinstance(where, Path):
        return _open_file(where)
    return _open_account(where, credential or StorageCredential(where.client_id))


def open_remote_queue(endpoint: str, name: str, account: StorageAccount, credential: StorageCredential) -> RemoteQueue:
    """A queue of another program, at the address of a queue service, signed in to as `open_azure_remote_queue` does."""

    def opened() -> RemoteQueue:
        from app.storage.azure.azure_clients import open_azure_remote_queue  # noqa: PLC0415

        return open_azure_remote_queue(endpoint, name, account, credential)

    return lazy(opened)


def open_answer_links(where: Path | StorageAccount, credential: StorageCredential) -> AnswerLinks | None:
    """None for a file, which nobody else can read."""
    if isinstance(where, Path):
        return None

    def open_links() -> AnswerLinks:
        from app.storage.azure.azure_clients import open_links  # noqa: PLC0415

        return open_links(where, ANSWERS_CONTAINER, credential=credential)

    return lazy(open_links)


def _open_file(path: Path) -> Storage:
    store = SqliteStore(path)
    return Storage(store, store.documents(), store.artifacts(), store.queue)


def _open_account(account: StorageAccount, credential: StorageCredential) -> Storage:
    def open_conversations() -> ConversationStore:
        from app.storage.azure.azure_clients import open_table  # noqa: PLC0415

        return open_table(account, CONVERSATIONS_TABLE, artifacts, credential=credential)

    def open_documents() -> DocumentStore:
        from app.storage.azure.azure_clients import open_documents_table  # noqa: PLC0415

        return open_documents_table(account, DOCUMENTS_TABLE, credential=credential)

    def open_artifacts() -> BlobArtifacts:
        from app.storage.azure.azure_clients import open_container  # noqa: PLC0415

        return open_container(account, ARTIFACTS_CONTAINER, credential=credential)

    def open_queue(name: str) -> MessageReceiver:
        from app.storage.azure.azure_clients import open_azure_queue  # noqa: PLC0415

        return open_azure_queue(account, name, credential=credential)

    artifacts = lazy(open_artifacts)
    return Storage(
        lazy(open_conversations),
        lazy(open_documents),
        artifacts,
        lambda name: lazy(lambda: open_queue(name)),
        credential,
    )
