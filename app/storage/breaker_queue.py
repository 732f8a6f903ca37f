"""A queue behind a circuit breaker: while that is open, calls fail at once instead of waiting for a queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.resilience.circuit_breaker import CircuitBreaker, CircuitOpenError
from app.storage.queue import MESSAGE_LIFETIME_SECONDS, Queue, Receipt
from app.storage.storage_errors import StorageError

_Result = TypeVar("_Result")


class BreakerQueue:
    """Implements `app.storage.queue.Queue`."""

    def __init__(self, queue: Queue, breaker: CircuitBreaker) -> None:
        self._queue = queue
        self._breaker = breaker

    async def put(
        self, body: str, *, visibility_timeout: float, time_to_live_seconds: float = MESSAGE_LIFETIME_SECONDS
    ) -> Receipt:
        return await self._made(
            lambda: self._queue.put(
                body, visibility_timeout=visibility_timeout, time_to_live_seconds=time_to_live_seconds
            )
        )

    async def update_visibility(self, receipt: Receipt, *, visibility_timeout: float) -> Receipt:
        return await self._made(lambda: self._queue.update_visibility(receipt, visibility_timeout=visibility_timeout))

    async def delete(self, receipt: Receipt) -> None:
        await self._made(lambda: self._queue.delete(receipt))

    async def ping(self) -> None:
        await self._made(self._queue.ping)

    def check(self) -> None:
        """Raises `CircuitOpenError` while calls fail at once."""
        self._breaker.check()

    async def close(self) -> None:
        await self._queue.close()

    async def _made(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        try:
            return await self._breaker.around(call, failures=StorageError)
        except CircuitOpenError as error:
            raise StorageError(str(error)) from error
