"""A store and the stand-in Jobs API for every test of repairs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage.documents import DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.job_service import JobService, job_service


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[DocumentStore]:
    store = SqliteStore(tmp_path / "store.db")
    documents = store.documents()
    yield documents
    await documents.close()
    await store.close()


@pytest.fixture
async def jobs() -> AsyncIterator[JobService]:
    async with job_service() as service:
        yield service
