"""Whether the machine kept up: twice a second a little work, which other work on the machine makes take longer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_BETWEEN_BEATS_SECONDS = 0.5
_WORK_SECONDS = 0.02
_WINDOW_SECONDS = 5.0
# Beyond this, others had half of the cores' time or more, and a limit on times says nothing about the product.
_MOST_SLOWDOWN = 2.0


@dataclass(slots=True)
class Heartbeat:
    """`beats`: when, in seconds of the run, and how many times its own CPU time the work took."""

    clock: Callable[[], float]
    beats: list[tuple[float, float]] = field(default_factory=list)
    worst_slowdown: float = 1.0
    """In any five seconds; known when the beating has ended."""

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self.worst_slowdown = max((self.slowdown(at - _WINDOW_SECONDS, at) for at, _ in self.beats), default=1.0)

    async def _beat(self) -> None:
        while True:
            due = self.clock() + _BETWEEN_BEATS_SECONDS
            await asyncio.sleep(_BETWEEN_BEATS_SECONDS)
            until = time.thread_time() + _WORK_SECONDS
            while time.thread_time() < until:
                pass
            ended = self.clock()
            # What the event loop was late by counts too.
            self.beats.append((ended, max(1.0, (ended - due) / _WORK_SECONDS)))

    def slowdown(self, begin: float, end: float) -> float:
        """On average from `begin` to `end`, and over five seconds at least."""
        beats = [slowdown for at, slowdown in self.beats if min(begin, end - _WINDOW_SECONDS) <= at <= end]
        return sum(beats) / len(beats) if beats else 1.0

    def kept_up(self, begin: float, end: float) -> bool:
        return self.slowdown(begin, end) <= _MOST_SLOWDOWN

    def stretched(self, seconds: float) -> float:
        """As long as that may have taken on this machine where it was slowest."""
        return seconds * self.worst_slowdown
