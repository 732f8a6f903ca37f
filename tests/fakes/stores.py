"""Every storage engine, opened for a test as the app opens it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from pydantic import SecretStr

from app.storage.artifacts import ArtifactStore
from app.storage.azure.azure_clients import open_azure_queue, open_container, open_documents_table, open_table
from app.storage.azure.table_store import TableStore
from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.documents import DocumentStore
from app.storage.lazy import lazy
from app.storage.ledger import BeginResult, ConversationStore, TurnKey, TurnRecord, TurnState
from app.storage.postgres.postgres_store import PostgresStore
from app.storage.queue import MessageReceiver
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_account import StorageAccount
from app.storage.storage_credential import StorageCredential
from tests.fakes.azurite import Azurite
from tests.fakes.clock import Clock
from tests.fakes.postgres import Postgres

ENGINES = [
    "sqlite",
    pytest.param("postgres", marks=pytest.mark.slow),
    pytest.param("azure", marks=pytest.mark.slow),
]

ANN = ConversationKey("tenant", "msteams/19:ann@thread.v2;messageid=1 / #?\\ Größe")
BOB = ConversationKey("tenant", "bob")


def account(azurite: Azurite) -> StorageAccount:
    return StorageAccount(SecretStr(azurite.connection_string))


def azurite_of(request: pytest.FixtureRequest) -> Azurite:
    """Of the fixture `azurite`, which is not started for the tests of SQLite."""
    running = request.getfixturevalue("azurite")
    assert isinstance(running, Azurite)
    return running


def file_or_database(
    request: pytest.FixtureRequest, folder: Path, clock: Callable[[], float]
) -> SqliteStore | PostgresStore | None:
    """None for the engine of Azure. PostgreSQL is not started for the tests of SQLite."""
    if request.param == "sqlite":
        return SqliteStore(folder / "agent.sqlite", clock=clock)
    if request.param == "postgres":
        running = request.getfixturevalue("postgres")
        assert isinstance(running, Postgres)
        return PostgresStore(running.database(), clock=clock)
    return None


def conversations_table(
    account: StorageAccount,
    name: str,
    *,
    credential: StorageCredential | None = None,
    clock: Callable[[], float] = time.time,
    **options: object,
) -> TableStore:
    """Artifacts are in a container of the same name."""
    artifacts = lazy(lambda: open_container(account, name, clock=clock))
    return open_table(account, name, artifacts, credential=credential, clock=clock, **options)


@dataclass
class ConversationsAndArtifacts:
    conversations: ConversationStore
    artifacts: ArtifactStore


@asynccontextmanager
async def opened_artifacts(
    request: pytest.FixtureRequest, folder: Path, clock: Clock
) -> AsyncIterator[ConversationsAndArtifacts]:
    if store := file_or_database(request, folder, clock):
        yield ConversationsAndArtifacts(store, store.artifacts())
        await store.close()
    else:
        where, name = account(azurite_of(request)), f"t{uuid.uuid4().hex}"
        artifacts = open_container(where, name, clock=clock)
        table = open_table(where, name, artifacts, clock=clock)
        await table.create()
        yield ConversationsAndArtifacts(table, artifacts)
        await table.close()


@asynccontextmanager
async def opened_store(request: pytest.FixtureRequest, folder: Path, clock: Clock) -> AsyncIterator[ConversationStore]:
    """Of the engine that the fixture's parameter names, with nothing in it."""
    store: ConversationStore | None = file_or_database(request, folder, clock)
    store = store or conversations_table(account(azurite_of(request)), f"t{uuid.uuid4().hex}", clock=clock)
    yield store
    await store.close()


@asynccontextmanager
async def opened_documents(request: pytest.FixtureRequest, folder: Path, clock: Clock) -> AsyncIterator[DocumentStore]:
    if store := file_or_database(request, folder, clock):
        yield store.documents()
        await store.close()
    else:
        documents = open_documents_table(account(azurite_of(request)), f"t{uuid.uuid4().hex}", clock=clock)
        yield documents
        await documents.close()


@dataclass
class TestedQueue:
    __test__ = False

    queue: MessageReceiver
    clock: Clock | None

    async def wait(self, seconds: float) -> None:
        """Azurite has a clock of its own."""
        if self.clock is None:
            await asyncio.sleep(seconds)
        else:
            self.clock.now += seconds


@asynccontextmanager
async def opened_queue(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[TestedQueue]:
    clock = Clock()
    if store := file_or_database(request, folder, clock):
        yield TestedQueue(store.queue("turns"), clock)
        await store.close()
    else:
        queue = open_azure_queue(account(azurite_of(request)), f"q{uuid.uuid4().hex}")
        yield TestedQueue(queue, None)
        await queue.close()


class Wire(AioHttpTransport):  # type: ignore[misc]
    """Counts what goes over it. `lost`: of so many requests that change something the answer never arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.lost = 0

    async def send(self, request: Any, **options: Any) -> Any:
        self.requests.append(f"{request.method} {request.url}")
        response = await super().send(request, **options)
        if self.lost and request.method != "GET":
            self.lost -= 1
            response.internal_response.close()
            raise ServiceResponseError("the answer was lost")
        return response


def turn(activity: str = "a1", key: ConversationKey = ANN, owner: str = "worker-1") -> TurnRecord:
    return TurnRecord(TurnKey(key, activity), 0, TurnState.STARTED, owner, 60.0, payload='{"question": "Why?"}')


async def begin(store: ConversationStore, record: TurnRecord | None = None, history_limit: int = 10) -> BeginResult:
    result = await store.begin(record or turn(), history_limit=history_limit)
    assert result is not None, "taken for a repeat"
    return result


def exchange(n: object) -> list[StoredMessage]:
    return [StoredMessage("user", f"question {n}"), StoredMessage("assistant", f"answer {n}", complete=n != 2)]
