"""What a follower of a response reads, of what its own process writes and of what another one does."""

from __future__ import annotations

import asyncio
from typing import Any

from agent_server.responses.event_log import EventLog, LogKey, ResponseEvents
from agent_server.responses.following import follow
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.agent_server.responses.instances import in_virtual_time

KEY = LogKey("ann", "conv_1", "resp_1")
BATCHES = 20
INTERVAL_SECONDS = 0.2


class CountedLog(EventLog):
    def __init__(self, store: SqliteStore) -> None:
        super().__init__(store.documents(), store.artifacts(), retention_days=30)
        self.reads = 0

    async def read(self, key: LogKey, batch: int) -> ResponseEvents | None:
        self.reads += 1
        return await super().read(key, batch)


@in_virtual_time
async def test_storage_is_not_asked_for_what_this_process_writes(store: SqliteStore) -> None:
    log = CountedLog(store)
    following = asyncio.create_task(_followed(log))
    for batch in range(BATCHES):
        await asyncio.sleep(INTERVAL_SECONDS)
        await log.append(KEY, batch, _events(batch))

    seen = await following

    assert [events for _, events in seen] == [_events(batch) for batch in range(BATCHES)]
    assert log.reads <= 3, "before the first one was there"


@in_virtual_time
async def test_what_another_process_writes_in_between_is_read_within_two_seconds(store: SqliteStore) -> None:
    log, elsewhere = CountedLog(store), CountedLog(store)
    following = asyncio.create_task(_followed(log))
    clock = asyncio.get_running_loop().time
    written: list[float] = []
    for batch in range(BATCHES):
        await asyncio.sleep(INTERVAL_SECONDS)
        # As where a worker loses its lease and gets it back.
        await (elsewhere if 5 <= batch < 10 else log).append(KEY, batch, _events(batch))
        written.append(clock())

    seen = await following

    assert [events for _, events in seen] == [_events(batch) for batch in range(BATCHES)]
    assert max(at - began for (at, _), began in zip(seen, written, strict=True)) < 2


async def _followed(log: EventLog) -> list[tuple[float, ResponseEvents]]:
    async def end_if_lost() -> None: ...

    clock = asyncio.get_running_loop().time
    return [(clock(), events) async for events in follow(log, KEY, starting_after=None, end_if_lost=end_if_lost)]


def _events(batch: int) -> list[dict[str, Any]]:
    kind = "response.completed" if batch == BATCHES - 1 else "response.output_text.delta"
    return [{"type": kind, "sequence_number": 2 * batch + number} for number in range(2)]
