"""Why work was cancelled, for the code that cleans up after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum


class CancelReason(StrEnum):
    STOPPED = "stopped"
    """The person pressed Stop: what was begun elsewhere on their behalf is to be cancelled too."""
    TIMED_OUT = "timed out"
    """The time limit of the turn is over: as after Stop, nobody waits for a result."""
    HANDED_OVER = "handed over"
    """This worker ends and another goes on: what runs elsewhere goes on too."""
    LEASE_LOST = "lease lost"
    """Another worker has claimed the turn: as after a hand-over."""


class Cancellation:
    """The first reason given stays. `reason` is set before any task is cancelled, so that an `except CancelledError`
    can look at it.
    """

    def __init__(self) -> None:
        self._reason: CancelReason | None = None

    @property
    def reason(self) -> CancelReason | None:
        return self._reason

    @property
    def goes_on_elsewhere(self) -> bool:
        """Whether another worker continues the same turn."""
        return self._reason in (CancelReason.HANDED_OVER, CancelReason.LEASE_LOST)

    def cancel(self, reason: CancelReason) -> None:
        self._reason = self._reason or reason


@asynccontextmanager
async def time_limit_seconds(seconds: float, cancellation: Cancellation) -> AsyncIterator[None]:
    """As `asyncio.timeout`; what it cancels finds the reason in `cancellation`. Raises `TimeoutError`."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as deadline:

        def expire() -> None:
            cancellation.cancel(CancelReason.TIMED_OUT)
            deadline.reschedule(loop.time())

        timer = loop.call_later(seconds, expire)
        try:
            yield
        finally:
            timer.cancel()
