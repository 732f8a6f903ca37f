"""Reads a response's events as they are written, by whichever instance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Final

from agent_server.responses.event_log import EventLog, LogKey, ResponseEvents, is_terminal
from app.storage.storage_errors import StorageError

_MIN_PAUSE_SECONDS: Final = 0.25
_MAX_PAUSE_SECONDS: Final = 1.5
_LOST_AFTER_SECONDS: Final = 30.0
_OUTAGE_SECONDS: Final = 30.0


async def follow(
    log: EventLog, key: LogKey, *, starting_after: int | None, end_if_lost: Callable[[], Awaitable[None]]
) -> AsyncGenerator[ResponseEvents, None]:
    """The events after the one with the number `starting_after`, until the last, as they were written together.
    `end_if_lost` is called when nothing has been written for a while: it ends the log of a response that nobody works
    on any more. Raises `StorageError` where storage does not answer for half a minute.
    """
    after = -1 if starting_after is None else starting_after
    clock = asyncio.get_running_loop().time
    batch, pause, written_at = 0, _MIN_PAUSE_SECONDS, clock()
    is_written_here = False
    with log.watched(key) as watch:
        while True:
            events = watch.take(batch)
            if events is None and is_written_here:
                # So is the next one, most likely: storage is not asked at once.
                await watch.changed(_MAX_PAUSE_SECONDS)
                events = watch.take(batch)
            is_written_here = events is not None
            if events is None:
                events = await _read(log, key, batch)
            if events is None:
                if clock() - written_at > _LOST_AFTER_SECONDS:
                    with suppress(StorageError):
                        await end_if_lost()
                    written_at = clock()
                pause = _MIN_PAUSE_SECONDS if await watch.changed(pause) else min(pause * 1.5, _MAX_PAUSE_SECONDS)
                continue
            batch, pause, written_at = batch + 1, _MIN_PAUSE_SECONDS, clock()
            if wanted := [event for event in events if event["sequence_number"] > after]:
                yield wanted
            if is_terminal(events):
                return


async def _read(log: EventLog, key: LogKey, batch: int) -> ResponseEvents | None:
    give_up_at = asyncio.get_running_loop().time() + _OUTAGE_SECONDS
    while True:
        try:
            return await log.read(key, batch)
        except StorageError:
            if asyncio.get_running_loop().time() > give_up_at:
                raise
        await asyncio.sleep(_MIN_PAUSE_SECONDS)
