"""Calls to a service that may be unavailable, with one log line when an outage begins and one when it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from app.resilience.retry import Backoff, retry
from app.storage.queue import PopReceiptMismatchError

_Result = TypeVar("_Result")

_CALL_TIMEOUT_SECONDS = 25.0
_BACKOFF = Backoff(first_seconds=0.1, longest_seconds=5.0)

log = logging.getLogger(__name__)


class Outage:
    """`service` is its name in the log."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._lasts = False

    async def attempt(self, call: Callable[[], Awaitable[_Result]]) -> _Result | None:
        """None if it failed. Raises `PopReceiptMismatchError`."""
        try:
            return await self._call(call)
        except PopReceiptMismatchError:
            raise
        except Exception:
            return None

    async def retry(self, call: Callable[[], Awaitable[object]], seconds: float) -> bool:
        """Whether it succeeded within about `seconds`. Raises `PopReceiptMismatchError`."""
        try:
            await retry(lambda: self._call(call), _pause_after, limit_seconds=seconds)
        except PopReceiptMismatchError:
            raise
        except Exception:
            return False
        return True

    async def _call(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        try:
            async with asyncio.timeout(_CALL_TIMEOUT_SECONDS):
                result = await call()
        except PopReceiptMismatchError:
            self._answered()
            raise
        except Exception as error:
            if not self._lasts:
                self._lasts = True
                log.error("%s does not answer; it is tried again until it does", self._service, exc_info=error)
            raise
        self._answered()
        return result

    def _answered(self) -> None:
        if self._lasts:
            self._lasts = False
            log.warning("%s answers again", self._service)


def _pause_after(failure: Exception, attempt: int) -> float | None:
    return None if isinstance(failure, PopReceiptMismatchError) else _BACKOFF.pause_seconds(attempt)


async def within(seconds: float, event: Coroutine[Any, Any, object]) -> bool:
    """Whether `event` ended within that time."""
    try:
        async with asyncio.timeout(seconds):
            await event
    except TimeoutError:
        return False
    return True
