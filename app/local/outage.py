"""A remote that does not answer, said once for as long as it lasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from app.storage.queue import PopReceiptMismatchError

_Result = TypeVar("_Result")

# All in seconds.
_LONGEST_CALL = 25.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

log = logging.getLogger(__name__)


class Outage:
    """`what` begins the sentences of the log."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lasts = False

    async def attempt(self, call: Callable[[], Awaitable[_Result]]) -> _Result | None:
        """None if it failed. Raises `PopReceiptMismatchError`."""
        try:
            async with asyncio.timeout(_LONGEST_CALL):
                result = await call()
        except PopReceiptMismatchError:
            self._ends()
            raise
        except Exception as error:
            if not self._lasts:
                self._lasts = True
                log.error("%s does not answer; it is asked until it does", self._what, exc_info=error)
            return None
        self._ends()
        return result

    async def insist(self, call: Callable[[], Awaitable[_Result]], seconds: float) -> bool:
        """Whether it succeeded within about `seconds`. Raises `PopReceiptMismatchError`."""
        deadline = asyncio.get_running_loop().time() + seconds
        pause = _FIRST_PAUSE
        while await self.attempt(lambda: _done(call)) is None:
            if asyncio.get_running_loop().time() + pause > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return True

    def _ends(self) -> None:
        if self._lasts:
            self._lasts = False
            log.warning("%s answers again", self._what)


async def within(seconds: float, event: Coroutine[Any, Any, object]) -> bool:
    """Whether `event` came in that time."""
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True


async def _done(call: Callable[[], Awaitable[object]]) -> bool:
    await call()
    return True
