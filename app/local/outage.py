"""Calls to a service that may be unavailable, with one log line when an outage begins and one when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from app.storage.queue import PopReceiptMismatchError

_Result = TypeVar("_Result")

_CALL_TIMEOUT_SECONDS = 25.0
_FIRST_PAUSE_SECONDS = 0.1
_MAX_PAUSE_SECONDS = 5.0

log = logging.getLogger(__name__)


class Outage:
    """`service` is its name in the log."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._outage = False

    async def attempt(self, call: Callable[[], Awaitable[_Result]]) -> _Result | None:
        """None if it failed. Raises `PopReceiptMismatchError`."""
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                result = await call()
        except PopReceiptMismatchError:
            self._ends()
            raise
        except Exception as error:
            if not self._outage:
                self._outage = True
                log.error("%s does not answer; it is tried again until it does", self._service, exc_info=error)
            return None
        self._ends()
        return result

    async def retry(self, call: Callable[[], Awaitable[_Result]], seconds: float) -> bool:
        """Whether it succeeded within about `seconds`. Raises `PopReceiptMismatchError`."""
        deadline = asyncio.get_running_loop().time() + seconds
        pause = _FIRST_PAUSE_SECONDS
        while await self.attempt(lambda: _done(call)) is None:
            if asyncio.get_running_loop().time() + pause > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)
        return True

    def _ends(self) -> None:
        if self._outage:
            self._outage = False
            log.warning("%s answers again", self._service)


async def within(seconds: float, event: Coroutine[Any, Any, object]) -> bool:
    """Whether `event` ended within that time."""
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True


async def _done(call: Callable[[], Awaitable[object]]) -> bool:
    await call()
    return True
