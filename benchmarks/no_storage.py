"""Runs a module as `python -m` would, with a store and a queue that do nothing: what a turn costs without storage.

python -m benchmarks.no_storage app.local --port 7071
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.storage import factory
from app.storage.artifacts import Artifact, ArtifactKey
from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.documents import Collection, Document, DocumentKey, DocumentPage
from app.storage.ledger import BeginResult, Predecessor, TurnKey, TurnRecord, TurnState
from app.storage.postgres_database import PostgresDatabase
from app.storage.queue import MESSAGE_LIFETIME_SECONDS, Receipt, ReceivedMessage
from app.storage.storage_account import StorageAccount
from app.storage.storage_credential import StorageCredential


class NoStore:
    """Every turn is new, and nothing is kept."""

    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        return []

    async def remove_exchange(self, key: ConversationKey, activity_id: str) -> None:
        return None

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None: ...

    async def begin(self, turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        return BeginResult(replace(turn, ticket=1, version="1"), (), has_predecessor=False)

    async def find(self, key: TurnKey) -> TurnRecord | None:
        return None

    async def change(self, record: TurnRecord) -> TurnRecord:
        return record

    async def end(
        self, record: TurnRecord, state: TurnState, messages: Sequence[StoredMessage], *, result: str = ""
    ) -> None: ...

    async def start(self, record: TurnRecord, *, since: float = 0.0) -> Predecessor | None:
        return None

    async def skip(self, record: TurnRecord, predecessor: Predecessor) -> None: ...

    async def delete_before(self, moment: float) -> int:
        return 0

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class NoDocuments:
    async def get(self, key: DocumentKey) -> Document | None:
        return None

    async def put(self, document: Document) -> Document:
        return replace(document, version="1")

    async def delete(self, key: DocumentKey) -> None: ...

    async def delete_unchanged(self, document: Document) -> bool:
        return True

    async def list_page(
        self, collection: Collection, tenant: str, *, prefix: str = "", limit: int = 100, continuation: str = ""
    ) -> DocumentPage:
        return DocumentPage([])

    async def due_before(self, collection: Collection, moment: float, *, limit: int = 32) -> list[Document]:
        return []

    async def delete_expired(self) -> int:
        return 0

    async def close(self) -> None: ...


class NoArtifacts:
    async def put(self, artifact: Artifact) -> None: ...

    async def get(self, key: ArtifactKey) -> Artifact | None:
        return None

    async def delete(self, key: ArtifactKey) -> None: ...

    async def close(self) -> None: ...


class NoQueue:
    async def put(
        self, body: str, *, visibility_timeout: float, time_to_live_seconds: float = MESSAGE_LIFETIME_SECONDS
    ) -> Receipt:
        return Receipt("1", "1")

    async def put_content(self, content: str, *, visibility_timeout: float) -> Receipt:
        return Receipt("1", "1")

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        return receipt

    async def delete(self, receipt: Receipt) -> None: ...

    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        return []

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


def open_nothing(
    where: Path | StorageAccount | PostgresDatabase, credential: StorageCredential | None = None
) -> factory.Storage:
    return factory.Storage(NoStore(), NoDocuments(), NoArtifacts(), lambda name: NoQueue())


def main(arguments: list[str]) -> None:
    # Before the module is imported, which takes the function's name from there.
    factory.open_storage = open_nothing
    module, sys.argv[1:] = arguments[0], arguments[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
