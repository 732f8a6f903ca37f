"""Of several servers one looks at the jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent_server.page.watch_leader import LEASE_SECONDS, WATCH_PASSES, WatchLeader
from app.storage.documents import Document, DocumentKey, DocumentStore
from app.storage.factory import open_storage
from tests.fakes.clock import Clock

WORKSPACE, EVERY = "https://adb-1.example", 300.0


class Instance:
    def __init__(self, documents: DocumentStore, clock: Clock, workspace: str = WORKSPACE) -> None:
        self.passes = 0
        self.has_begun = asyncio.Event()
        self.error: Exception | None = None
        self.leader = WatchLeader(documents, self.run_pass, workspace=workspace, every_seconds=EVERY, clock=clock)

    async def run_pass(self) -> None:
        self.passes += 1
        self.has_begun.set()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[DocumentStore]:
    storage = open_storage(tmp_path / "store.sqlite")
    yield storage.documents
    await storage.close()


async def test_each_pass_is_run_by_one_of_the_instances(documents: DocumentStore) -> None:
    clock = Clock()
    instances = [Instance(documents, clock) for _ in range(4)]
    for _ in range(3):
        ran = await asyncio.gather(*(each.leader.run_if_due() for each in instances))
        assert sum(ran) == 1
        assert not any([await each.leader.run_if_due() for each in instances])
        clock.now += EVERY
    assert sum(each.passes for each in instances) == 3


async def test_other_workspaces_of_the_store_wait_for_nobody(documents: DocumentStore) -> None:
    clock = Clock()
    assert await Instance(documents, clock).leader.run_if_due()
    assert await Instance(documents, clock, "https://adb-2.example").leader.run_if_due()


async def test_a_pass_whose_server_died_is_made_up_for_after_its_lease(documents: DocumentStore) -> None:
    clock = Clock()
    dying, other = Instance(documents, clock), Instance(documents, clock)
    passing = asyncio.create_task(dying.leader.run_if_due())
    await dying.has_begun.wait()
    claim = await documents.get(DocumentKey(WATCH_PASSES, WORKSPACE, "next"))
    await passing
    # As a kill leaves it: claimed, and never set to the next time.
    ended = await documents.get(DocumentKey(WATCH_PASSES, WORKSPACE, "next"))
    assert claim is not None
    assert ended is not None
    await documents.put(replace(claim, version=ended.version))

    clock.now += LEASE_SECONDS - 1
    assert not await other.leader.run_if_due()
    clock.now += 1
    assert await other.leader.run_if_due()


async def test_a_pass_that_failed_is_tried_again_at_the_next_time(documents: DocumentStore) -> None:
    clock = Clock()
    instance = Instance(documents, clock)
    instance.error = RuntimeError("the workspace is away")
    with pytest.raises(RuntimeError):
        await instance.leader.run_if_due()
    assert not await instance.leader.run_if_due()
    clock.now += EVERY
    instance.error = None
    assert await instance.leader.run_if_due()


async def test_a_time_that_cannot_be_read_is_now(documents: DocumentStore) -> None:
    await documents.put(Document(DocumentKey(WATCH_PASSES, WORKSPACE, "next"), '{"next_at": "soon"}'))
    assert await Instance(documents, Clock()).leader.run_if_due()
