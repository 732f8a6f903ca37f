"""The stand-in's clock, which a test puts forward instead of waiting ten minutes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class Clock:
    def __init__(self) -> None:
        self._ahead_seconds = 0.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead_seconds

    def advance(self, seconds: float) -> None:
        self._ahead_seconds += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait_until(self, moment: float) -> None:
        while (left := moment - self.now()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._moved.wait()

    async def before(self, moment: float, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Raises TimeoutError, and cancels `work`, where it has not ended by then."""
        task = asyncio.create_task(work)
        alarm = asyncio.create_task(self.wait_until(moment))
        try:
            await asyncio.wait([task, alarm], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return await task
            raise TimeoutError
        finally:
            for each in (task, alarm):
                each.cancel()
            await asyncio.gather(task, alarm, return_exceptions=True)
