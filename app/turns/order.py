"""Who waits for an earlier turn of a conversation learns at once when one ends in this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable


class Endings:
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
