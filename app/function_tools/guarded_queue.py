"""A function's queue behind the circuit breaker of its queue service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from app.resilience.circuit_breaker import CircuitBreaker
from app.resilience.retry import Backoff, retry
from app.storage.queue import Receipt, ReceivedMessage
from app.storage.remote_queue import RemoteQueue, RemoteQueueBusyError, RemoteQueueRefusedError
from app.storage.storage_errors import StorageError

_PUT_SECONDS = 15.0
_BACKOFF = Backoff(0.5, 4.0, attempts=4, jitter=0.5)

_Result = TypeVar("_Result")


class GuardedQueue:
    """As `RemoteQueue`, and raises `app.resilience.circuit_breaker.CircuitOpenError` while the remote is left alone."""

    def __init__(self, queue: RemoteQueue, breaker: CircuitBreaker) -> None:
        self._queue = queue
        self._breaker = breaker

    async def open(self) -> None:
        # It may need no call, and so says nothing about the remote.
        self._breaker.check()
        await self._queue.open()

    async def put(self, body: str, *, time_to_live_seconds: float) -> None:
        """Tried again only where nothing was put for certain."""

        async def put() -> None:
            await self._guarded(lambda: self._queue.put(body, time_to_live_seconds=time_to_live_seconds))

        limit = min(_PUT_SECONDS, time_to_live_seconds)
        await retry(put, _pause_after, limit_seconds=limit)

    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        return await self._guarded(lambda: self._queue.receive(max_messages, visibility_timeout=visibility_timeout))

    async def delete(self, receipt: Receipt) -> None:
        await self._guarded(lambda: self._queue.delete(receipt))

    async def ping(self) -> None:
        await self._guarded(self._queue.ping)

    async def close(self) -> None:
        await self._queue.close()

    async def _guarded(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        return await self._breaker.around(call, failures=StorageError, refusals=(RemoteQueueRefusedError,))


def _pause_after(failure: Exception, attempt: int) -> float | None:
    if not isinstance(failure, RemoteQueueBusyError):
        return None
    pause = _BACKOFF.pause_seconds(attempt)
    return None if pause is None else max(pause, failure.retry_after_seconds or 0.0)
