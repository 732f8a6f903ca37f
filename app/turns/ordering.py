"""The order of a conversation's turns: when each was asked, who is entered first, and who may go on now."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from weakref import WeakValueDictionary

# Seconds. A channel's clock and ours differ by less, and nobody is late by more who may still go before others.
_WINDOW = 120.0


def when_asked(claimed: float | None, now: float) -> float:
    """When the channel says that something was asked, or `now`, at which it came; all in seconds since 1970.

    Never far from `now`: an absurd claim orders nothing, and two that are both beyond the window keep the order they
    came in.
    """
    return now if claimed is None else min(max(claimed, now - _WINDOW), now + _WINDOW)


class ArrivalLocks:
    """A lock for each conversation, given in the order in which it is asked for."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: Hashable) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


class TurnCompletionEvents:
    """Who waits for an earlier turn of a conversation learns at once when one ends in this worker."""

    def __init__(self) -> None:
        self._awaited: dict[Hashable, list[asyncio.Future[None]]] = {}

    def ended(self, key: Hashable) -> None:
        for future in self._awaited.pop(key, ()):
            if not future.done():
                future.set_result(None)

    async def next(self, key: Hashable, *, within: float) -> None:
        """Returns when a turn of `key` ends in this worker, or after `within` seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(key, []).append(future)
        try:
            await asyncio.wait([future], timeout=within)
        finally:
            waiting = self._awaited.get(key)
            if waiting is not None and future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._awaited[key]
