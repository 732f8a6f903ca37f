"""The order of a conversation's turns: when each was asked, which is entered first, and when one has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

# A channel's clock and ours differ by less, and a question that arrives later than this is not put before others.
_MAX_CLOCK_DIFFERENCE_SECONDS = 120.0


def when_asked(claimed: float | None, now: float) -> float:
    """When the channel says that something was asked, or `now`, when it arrived; all in seconds since 1970.

    At most two minutes from `now`, so that an absurd timestamp cannot change the order; questions that are all outside
    of that keep the order in which they arrived.
    """
    if claimed is None:
        return now
    return min(max(claimed, now - _MAX_CLOCK_DIFFERENCE_SECONDS), now + _MAX_CLOCK_DIFFERENCE_SECONDS)


class TurnCompletionEvents:
    """Wakes the turns that wait for an earlier one of their conversation as soon as one ends in this worker."""

    def __init__(self) -> None:
        self._waiters: dict[Hashable, list[asyncio.Future[None]]] = {}

    def notify(self, key: Hashable) -> None:
        for future in self._waiters.pop(key, ()):
            if not future.done():
                future.set_result(None)

    async def wait(self, key: Hashable, *, timeout: float) -> None:
        """Returns when a turn of `key` ends in this worker, or after `timeout` seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(key, []).append(future)
        try:
            await asyncio.wait([future], timeout=timeout)
        finally:
            waiters = self._waiters.get(key)
            if waiters is not None and future in waiters:
                waiters.remove(future)
                if not waiters:
                    del self._waiters[key]
