"""Reads the answers on one queue while somebody in this worker waits for one, and keeps them for every worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from app.function_tools.function_calls import FunctionCalls
from app.function_tools.function_messages import UnreadableAnswerError, read_answer
from app.function_tools.guarded_queue import GuardedQueue
from app.resilience.circuit_breaker import CircuitOpenError
from app.resilience.retry import Backoff
from app.storage.queue import ReceivedMessage
from app.storage.remote_queue import RemoteQueueBusyError
from app.storage.storage_errors import StorageError

_log = logging.getLogger(__name__)

# Longer than it takes to keep an answer: a worker that dies meanwhile delays it so long.
_VISIBILITY_SECONDS = 30.0
_MAX_RECEIVED = 32
_MAX_SWEPT_BATCHES = 30
_IDLE = Backoff(0.2, 2.0, jitter=0.2)
_FAILING = Backoff(1.0, 15.0, jitter=0.5)


class AnswerReader:
    """`name` is that of the queue in the log."""

    def __init__(self, name: str, queue: GuardedQueue, calls: FunctionCalls) -> None:
        self._name = name
        self._queue = queue
        self._calls = calls
        self._waiting: dict[asyncio.Event, str] = {}
        self._idle_reads = 0
        self._reading: asyncio.Task[None] | None = None

    @contextmanager
    def waiting_for(self, correlation_id: str) -> Iterator[asyncio.Event]:
        """The event is set when this worker has kept an answer to the call; another worker may keep it, too."""
        event = asyncio.Event()
        self._waiting[event] = correlation_id
        self._idle_reads = 0
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_while_awaited())
        try:
            yield event
        finally:
            del self._waiting[event]

    async def sweep(self) -> int:
        """Reads what nobody here waits for, and returns how many messages there were. Raises `StorageError` and
        `CircuitOpenError`.
        """
        swept = 0
        for _ in range(_MAX_SWEPT_BATCHES):
            received = await self._read()
            swept += received
            if received < _MAX_RECEIVED:
                break
        return swept

    async def check(self) -> None:
        """Raises `StorageError` and `CircuitOpenError`."""
        await self._queue.ping()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})
        await self._queue.close()

    async def _read_while_awaited(self) -> None:
        failures = 0
        while self._waiting:
            try:
                received = await self._read()
            except (StorageError, CircuitOpenError) as error:
                failures += 1
                if failures == 1:
                    _log.warning("Answers of functions cannot be read from %s (%s)", self._name, error)
                named = (
                    error.retry_after_seconds if isinstance(error, RemoteQueueBusyError | CircuitOpenError) else None
                )
                pause = max(_FAILING.pause_seconds(failures) or 0.0, named or 0.0)
            else:
                failures = 0
                self._idle_reads = 0 if received else self._idle_reads + 1
                pause = _IDLE.pause_seconds(self._idle_reads) or 0.0 if self._idle_reads else 0.0
            await asyncio.sleep(pause)

    async def _read(self) -> int:
        messages = await self._queue.receive(_MAX_RECEIVED, visibility_timeout=_VISIBILITY_SECONDS)
        await asyncio.gather(*map(self._take, messages))
        return len(messages)

    async def _take(self, message: ReceivedMessage) -> None:
        """Deletes the message once its answer is kept, or cannot be of use."""
        id = message.receipt.message_id
        try:
            answer = read_answer(message.content)
            if await self._calls.keep(answer):
                for event, waiting_for in self._waiting.items():
                    if waiting_for == answer.correlation_id:
                        event.set()
            else:
                _log.info("Message %s on %s answers no call of this app, and is dropped", id, self._name)
        except UnreadableAnswerError as error:
            _log.warning("Message %s on %s is no answer, and is dropped: %s", id, self._name, error)
        except StorageError as error:
            # It becomes visible again.
            _log.warning("The answer in message %s on %s could not be kept (%s)", id, self._name, error)
            return
        except Exception:
            # One message must not keep the others from being read.
            _log.exception("The answer in message %s on %s could not be kept", id, self._name)
            return
        try:
            await self._queue.delete(message.receipt)
        except (StorageError, CircuitOpenError) as error:
            # Then it is received again, and its answer is known.
            _log.info("Message %s on %s could not be deleted (%s)", id, self._name, error)
