"""Receives what is on the queue of responses: turns whose worker is gone."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from app.storage.queue import MessageReceiver, PopReceiptMismatchError, ReceivedMessage
from app.storage.storage_errors import StorageError

_log = logging.getLogger(__name__)

_BATCH_SIZE: Final = 8
_VISIBILITY_SECONDS: Final = 60.0
_MIN_PAUSE_SECONDS: Final = 0.5
_MAX_PAUSE_SECONDS: Final = 2.0
# A database that nobody asks can go to sleep; whoever follows a response wakes the worker.
_AWAKE_SECONDS: Final = 300.0
_IDLE_PAUSE_SECONDS: Final = 900.0
_MAX_DEQUEUE_COUNT: Final = 5
_HANDLER_SECONDS: Final = 45.0


class QueueWorker:
    """`handle` returns when a message is no longer needed; it goes on with the turn by itself.

    It looks every second or two, and after five minutes without a `wake` or a message four times an hour.
    """

    def __init__(self, queue: MessageReceiver, handle: Callable[[bytes], Awaitable[None]]) -> None:
        self._queue = queue
        self._handle = handle
        self._running: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._awake_until = 0.0

    def wake(self) -> None:
        """Somebody asks or follows."""
        self._awake_until = asyncio.get_running_loop().time() + _AWAKE_SECONDS
        self._woken.set()

    def start(self) -> None:
        self.wake()
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """A message that is being handled becomes visible again."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        pause = _MIN_PAUSE_SECONDS
        while True:
            try:
                received = await self._queue.receive(_BATCH_SIZE, visibility_timeout=_VISIBILITY_SECONDS)
            except StorageError as failure:
                _log.warning("The queue of responses does not answer (%s)", type(failure).__name__)
                received, pause = [], _MAX_PAUSE_SECONDS
            if received:
                self.wake()
                await asyncio.gather(*(self._process(message) for message in received))
                pause = _MIN_PAUSE_SECONDS
                continue
            await self._pause(pause * random.uniform(0.8, 1.2))  # noqa: S311 - not a secret
            pause = min(pause * 1.5, _MAX_PAUSE_SECONDS)

    async def _pause(self, seconds: float) -> None:
        if asyncio.get_running_loop().time() < self._awake_until:
            await asyncio.sleep(seconds)
            return
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_PAUSE_SECONDS):
                await self._woken.wait()

    async def _process(self, message: ReceivedMessage) -> None:
        if message.dequeue_count > _MAX_DEQUEUE_COUNT:
            _log.error(
                "Message %s of the queue of responses is dropped: it failed each time", message.receipt.message_id
            )
        else:
            try:
                async with asyncio.timeout(_HANDLER_SECONDS):
                    await self._handle(message.body.encode())
            except Exception:
                _log.exception("A message of the queue of responses failed; it is received again")
                return
        with suppress(StorageError, PopReceiptMismatchError):
            await self._queue.delete(message.receipt)
