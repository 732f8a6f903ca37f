"""Work that is due later is put on the queue when it is due, at least once, and by one of several workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.storage.documents import DocumentStore
from app.storage.queue import MAX_QUEUE_MESSAGE_BYTES
from app.storage.storage_errors import StorageError
from app.turns.queue_message import Envelope
from app.turns.scheduler import Scheduler
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.stores import ENGINES, Clock, opened_documents

DAY_SECONDS = 24 * 3600.0


class Reminder(Envelope):
    text: str = ""


def reminder(text: str) -> Reminder:
    return Reminder(v=1, kind="reminder", text=text)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue() -> MemoryReceiver:
    return MemoryReceiver()


@pytest.fixture(params=ENGINES)
async def documents(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[DocumentStore]:
    async with opened_documents(request, tmp_path, clock) as opened:
        yield opened


@pytest.fixture
def scheduler(documents: DocumentStore, queue: MemoryReceiver, clock: Clock) -> Scheduler:
    return Scheduler(documents, queue, clock=clock)


def said(queue: MemoryReceiver) -> list[str]:
    return [Reminder.from_json(body).text for body in queue.bodies]


async def test_work_comes_when_it_is_due_though_no_message_lives_so_long(
    scheduler: Scheduler, queue: MemoryReceiver, clock: Clock
) -> None:
    start = clock()
    await scheduler.schedule("contoso", "a", reminder("in a week"), due_at=start + 7 * DAY_SECONDS)
    await scheduler.schedule("fabrikam", "a", reminder("tomorrow"), due_at=start + DAY_SECONDS)
    for days, expected in ((0.9, []), (1, ["tomorrow"]), (6, ["tomorrow"]), (7.1, ["tomorrow", "in a week"])):
        clock.now = start + days * DAY_SECONDS
        await scheduler.run_due()
        assert said(queue) == expected
    assert await scheduler.run_due() == 0


async def test_what_is_scheduled_anew_takes_the_place_of_the_first_and_what_is_cancelled_does_not_come(
    scheduler: Scheduler, queue: MemoryReceiver, clock: Clock
) -> None:
    await scheduler.schedule("contoso", "a", reminder("first"), due_at=clock() + 10)
    await scheduler.schedule("contoso", "a", reminder("second"), due_at=clock() + 20)
    await scheduler.schedule("contoso", "b", reminder("cancelled"), due_at=clock() + 5)
    await scheduler.cancel("contoso", "b")
    clock.now += 15
    assert await scheduler.run_due() == 0
    clock.now += 15
    assert await scheduler.run_due() == 1
    assert said(queue) == ["second"]


async def test_of_several_workers_one_puts_a_message_on_the_queue(
    scheduler: Scheduler, documents: DocumentStore, queue: MemoryReceiver, clock: Clock
) -> None:
    for number in range(5):
        await scheduler.schedule("contoso", str(number), reminder(str(number)), due_at=clock())
    others = [Scheduler(documents, queue, clock=clock) for _ in range(3)]
    counts = await asyncio.gather(*(each.run_due() for each in others))
    assert sum(counts) == 5
    assert sorted(said(queue)) == ["0", "1", "2", "3", "4"]


async def test_work_whose_worker_vanished_before_it_was_on_the_queue_comes_later(
    scheduler: Scheduler, queue: MemoryReceiver, clock: Clock
) -> None:
    await scheduler.schedule("contoso", "a", reminder("again"), due_at=clock())
    queue.fails = True
    with pytest.raises(StorageError):
        await scheduler.run_due()
    queue.fails = False
    clock.now += 300
    assert await scheduler.run_due() == 1
    assert said(queue) == ["again"]


async def test_the_next_work_that_a_handler_schedules_at_once_under_the_same_name_is_not_lost(
    scheduler: Scheduler, queue: MemoryReceiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = queue.put

    async def put_and_handle(body: str, **named: Any) -> Any:
        receipt = await put(body, **named)
        await scheduler.schedule("contoso", "watch", reminder("next"), due_at=clock() + 60)
        return receipt

    monkeypatch.setattr(queue, "put", put_and_handle)
    await scheduler.schedule("contoso", "watch", reminder("first"), due_at=clock())
    await scheduler.run_due()
    monkeypatch.setattr(queue, "put", put)
    clock.now += 61
    await scheduler.run_due()
    assert said(queue) == ["first", "next"]


async def test_a_message_that_no_queue_takes_is_refused_when_it_is_scheduled(
    scheduler: Scheduler, clock: Clock
) -> None:
    with pytest.raises(ValueError, match="bytes"):
        await scheduler.schedule("contoso", "a", reminder("x" * MAX_QUEUE_MESSAGE_BYTES), due_at=clock())
    assert await scheduler.run_due() == 0
