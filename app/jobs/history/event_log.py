"""The newest events of the history in memory, for any number of readers that wait for more."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from app.jobs.history.history_events import HistoryEvent
from app.storage.storage_errors import StorageError

MAX_EVENTS: Final = 5_000
_CURSOR = re.compile(r"([0-9a-f]{8})\.([0-9]{1,12})\.([0-9]{1,12})", re.ASCII)

_log = logging.getLogger(__name__)


class EventSource(Protocol):
    """`app.jobs.history.history_events.HistoryEvents` is one. Both raise `StorageError`."""

    async def new(self) -> list[HistoryEvent]: ...

    async def since(self, since_seconds: float) -> list[HistoryEvent]: ...


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the log of one process, and its time in seconds since 1970, for processes that do not know the log."""

    log_id: str
    number: int
    at_seconds: int

    def __str__(self) -> str:
        return f"{self.log_id}.{self.number}.{self.at_seconds}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Raises `ValueError`."""
        if (found := _CURSOR.fullmatch(text)) is None:
            raise ValueError("no cursor")
        return cls(found[1], int(found[2]), int(found[3]))


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """`cursor` is the place after it."""

    event: HistoryEvent
    cursor: Cursor


class ReaderBehindError(Exception):
    """The log has forgotten what comes next for this reader."""


class EventLog:
    def __init__(self, source: EventSource, *, poll_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._source = source
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._id = secrets.token_hex(4)
        self._events: deque[LoggedEvent] = deque(maxlen=MAX_EVENTS)
        self._count = 0
        self._changed = asyncio.Condition()

    @property
    def end(self) -> Cursor:
        """Where the next event will come."""
        return Cursor(self._id, self._count, int(self._clock()))

    def has(self, cursor: Cursor) -> bool:
        """Whether everything after this place is in the log."""
        return cursor.log_id == self._id and self._count - len(self._events) <= cursor.number <= self._count

    async def after(self, number: int) -> Sequence[LoggedEvent]:
        """Waits until there is one. Raises `ReaderBehindError`."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._count > number)
            behind = self._count - number
            if behind > len(self._events):
                raise ReaderBehindError
            return list(self._events)[-behind:]

    async def begin(self) -> None:
        """What is in the store by now comes before the log. Raises `StorageError`."""
        await self._source.new()

    async def follow(self) -> None:
        """Reads the store until it is cancelled; a store that cannot be read is read again later."""
        has_failed = False
        while True:
            await asyncio.sleep(self._poll_seconds)
            try:
                new = await self._source.new()
                has_failed = False
            except StorageError as error:
                if not has_failed:
                    _log.warning("The store cannot be read for events; trying again", exc_info=error)
                new, has_failed = [], True
            if new:
                async with self._changed:
                    for event in new:
                        self._count += 1
                        self._events.append(LoggedEvent(event, self.end))
                    self._changed.notify_all()
