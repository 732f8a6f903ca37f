"""Watchers that share a store, of every engine: the lock is one conditional write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.storage.documents import DocumentStore
from tests.fakes.clock import Clock
from tests.fakes.job_service import JobService
from tests.fakes.stores import ENGINES, opened_documents
from tests.jobs.repairs.repair_harness import failed_run, repairs_of


@pytest.fixture(params=ENGINES)
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DocumentStore]:
    async with opened_documents(request, tmp_path, Clock()) as documents:
        yield documents


async def test_five_watchers_at_once_repair_each_of_four_runs_once(jobs: JobService, shared: DocumentStore) -> None:
    asked = [failed_run(jobs) for _ in range(4)]
    jobs.stand_in.faults["runs/repair"].append("carried out, cut")
    watchers = [repairs_of(jobs, shared) for _ in range(5)]
    await asyncio.gather(*(each.start(request) for each in watchers for request in asked))
    assert sorted(each["run_id"] for each in jobs.stand_in.repairs) == [each.run_id for each in asked]
    results = [await repairs_of(jobs, shared).start(each) for each in asked]
    assert all(each.started is not None and each.started.by_us for each in results)
