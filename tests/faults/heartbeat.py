"""Whether the machine kept up: a beat that is due every quarter of a second, with a little work to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_BETWEEN_BEATS_SECONDS = 0.25
_WORK_SECONDS = 0.004
# Of the beats in a window, how late they were together as a share of it: beyond that other work slowed this run down.
_MOST_LATE_SHARE = 0.2
_WINDOW_SECONDS = 5.0


@dataclass(slots=True)
class Heartbeat:
    """Times in seconds of the run. A beat is late by what it took beyond its pause and its work's own CPU time."""

    clock: Callable[[], float]
    beats: list[tuple[float, float]] = field(default_factory=list)
    worst_late_seconds: float = 0.0
    """In any five seconds; known when the beating has ended."""

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self.worst_late_seconds = max(
                (self.late_seconds(at - _WINDOW_SECONDS, at) for at, _ in self.beats), default=0.0
            )

    async def _beat(self) -> None:
        while True:
            began = self.clock()
            await asyncio.sleep(_BETWEEN_BEATS_SECONDS)
            until = time.thread_time() + _WORK_SECONDS
            while time.thread_time() < until:
                pass
            ended = self.clock()
            self.beats.append((ended, max(0.0, ended - began - _BETWEEN_BEATS_SECONDS - _WORK_SECONDS)))

    def late_seconds(self, begin: float, end: float) -> float:
        """How late the beats from `begin` to `end` were together."""
        return sum(late for at, late in self.beats if begin <= at <= end + _BETWEEN_BEATS_SECONDS)

    def kept_up(self, begin: float, end: float) -> bool:
        return self.late_seconds(begin, end) <= _MOST_LATE_SHARE * max(end - begin, _WINDOW_SECONDS)
