"""Tells the followers of a response in this process what has just been written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class NewBatchesWatch:
    def __init__(self) -> None:
        self._batches: dict[int, Sequence[dict[str, Any]]] = {}
        self._changed = asyncio.Event()

    def add(self, batch: int, events: Sequence[dict[str, Any]]) -> None:
        self._batches[batch] = events
        self._changed.set()

    def take(self, batch: int) -> Sequence[dict[str, Any]] | None:
        """The batch, if this process has written it since the watch began; earlier ones are dropped."""
        events = self._batches.pop(batch, None)
        for earlier in [each for each in self._batches if each < batch]:
            del self._batches[earlier]
        if not self._batches:
            self._changed.clear()
        return events

    async def changed(self, seconds: float) -> bool:
        """Waits until something is written, `seconds` at most; False where nothing was."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class NewBatches:
    def __init__(self) -> None:
        self._watches: dict[str, set[NewBatchesWatch]] = {}

    def publish(self, response_id: str, batch: int, events: Sequence[dict[str, Any]]) -> None:
        for watch in self._watches.get(response_id, ()):
            watch.add(batch, events)

    @contextmanager
    def watch(self, response_id: str) -> Iterator[NewBatchesWatch]:
        watch = NewBatchesWatch()
        watches = self._watches.setdefault(response_id, set())
        watches.add(watch)
        try:
            yield watch
        finally:
            watches.discard(watch)
            if not watches:
                self._watches.pop(response_id, None)
