"""A store, the stand-in Jobs API and a server that is told, for the tests of the job watch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage.documents import DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.clock import Clock
from tests.fakes.hook_server import HookServer, running
from tests.fakes.job_service import JobService, job_service


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def documents(tmp_path: Path, clock: Clock) -> AsyncIterator[DocumentStore]:
    store = SqliteStore(tmp_path / "agent.sqlite", clock=clock)
    yield store.documents()
    await store.close()


@pytest.fixture
async def jobs() -> AsyncIterator[JobService]:
    async with job_service() as service:
        yield service


@pytest.fixture
async def server() -> AsyncIterator[HookServer]:
    async with running(HookServer()) as server:
        yield server
