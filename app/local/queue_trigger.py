"""Starts a function for every message on a queue, as the Functions host does.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any

from app.local.host_json import QueueOptions
from app.local.indexing import QueueFunction
from app.local.invocation import succeeds
from app.local.outage import Outage, within
from app.local.queue_message import queue_message, text_for_function
from app.storage.queue import MessageReceiver, PopReceiptMismatchError, Receipt, ReceivedMessage

_MIN_PAUSE_SECONDS = 0.1
_RELEASE_SECONDS = 2.0

# The text of Azure's own host, which alerts search for.
_POISONED = "Message has reached MaxDequeueCount of %d. Moving message to queue '%s'."

log = logging.getLogger(__name__)


class QueueListener:
    """`lock_seconds` is a message's visibility timeout while its function runs, renewal until it ends: how long the
    message stays hidden if this process is killed.
    """

    def __init__(
        self,
        function: QueueFunction,
        receiver: MessageReceiver,
        poison: MessageReceiver | None,
        options: QueueOptions,
        *,
        lock_seconds: float = 30.0,
    ) -> None:
        self._function = function
        self._name = function.queue
        self._receiver = receiver
        self._poison = poison
        self._options = options
        self._lock_seconds = lock_seconds
        self._outage = Outage(f"queue '{function.queue}'")
        self._stopping = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Receives messages until `stop`, though storage or functions fail, then waits for running functions.

        Cancelled, it cancels running functions; their messages become visible again at once.
        """
        try:
            await self._listen()
            if self._running:
                await asyncio.wait(self._running)
        finally:
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running)

    def stop(self) -> None:
        """From now on no message is received."""
        self._stopping.set()

    async def _listen(self) -> None:
        pause = _MIN_PAUSE_SECONDS
        while not self._stopping.is_set():
            received = await self._take()
            for message in received:
                self._start(self._release(message.receipt) if self._stopping.is_set() else self._process(message))
            if received:
                pause = _MIN_PAUSE_SECONDS
                await self._wait_for_capacity()
            else:
                await within(pause, self._stopping.wait())
                pause = min(pause * random.uniform(1.6, 2.4), self._options.max_polling_interval_seconds)

    async def _take(self) -> list[ReceivedMessage]:
        batch_size = self._options.batch_size
        return (
            await self._outage.attempt(
                lambda: self._receiver.receive(batch_size, visibility_timeout=self._lock_seconds)
            )
            or []
        )

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _wait_for_capacity(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        while len(self._running) > self._options.new_batch_threshold and not stopping.done():
            await asyncio.wait({*self._running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _process(self, received: ReceivedMessage) -> None:
        renewal = _VisibilityRenewal(self._receiver, received.receipt, self._outage, self._lock_seconds)
        try:
            if received.dequeue_count > self._options.max_dequeue_count:
                await self._move_to_poison_queue(received, renewal)
                return
            if (text := text_for_function(received.content, self._options.message_encoding)) is None:
                await self._move_to_poison_queue(received, renewal)
                return
            async with renewal:
                succeeded = await succeeds(
                    self._function,
                    lambda: queue_message(received, text, binary=self._function.binary),
                    ending=self._stopping.is_set,
                )
            await self._finish(received, renewal, succeeded=succeeded)
        except PopReceiptMismatchError:
            log.warning(
                "message %s of queue '%s' has been received by another host meanwhile",
                received.receipt.message_id,
                self._name,
            )
        except asyncio.CancelledError:
            await self._release(renewal.receipt)
            raise

    async def _finish(self, received: ReceivedMessage, renewal: _VisibilityRenewal, *, succeeded: bool) -> None:
        """Where storage fails, the message becomes visible again by itself. Raises `PopReceiptMismatchError`."""
        if succeeded:
            await renewal.change(self._receiver.delete)
        elif self._stopping.is_set():
            await self._release(renewal.receipt)
        elif self._poison is None:
            # A poison queue has none of its own: the message stays hidden for as long as it was locked.
            return
        elif received.dequeue_count >= self._options.max_dequeue_count:
            await self._move_to_poison_queue(received, renewal)
        else:
            await renewal.change(
                lambda receipt: self._receiver.update_visibility(
                    receipt, visibility_timeout=self._options.visibility_timeout
                )
            )

    async def _move_to_poison_queue(self, received: ReceivedMessage, renewal: _VisibilityRenewal) -> None:
        """Unless it is on a poison queue already. Raises `PopReceiptMismatchError`."""
        if (poison := self._poison) is None:
            return
        most = self._options.max_dequeue_count
        log.warning(_POISONED, most, poison_queue(self._name))
        if await self._outage.retry(
            lambda: poison.put_content(received.content, visibility_timeout=0), self._lock_seconds
        ):
            await renewal.change(self._receiver.delete)

    async def _release(self, receipt: Receipt) -> None:
        with suppress(PopReceiptMismatchError, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._outage.attempt(lambda: self._receiver.update_visibility(receipt, visibility_timeout=0))


class _VisibilityRenewal:
    """As a context it renews the visibility timeout; its end raises `PopReceiptMismatchError` if another host has
    received the message."""

    def __init__(self, receiver: MessageReceiver, receipt: Receipt, outage: Outage, seconds: float) -> None:
        self.receipt = receipt
        self._receiver = receiver
        self._outage = outage
        self._seconds = seconds
        self._done = asyncio.Event()

    async def __aenter__(self) -> None:
        self._renewing = asyncio.create_task(self._renew())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not cancelled: after an interrupted update the valid pop receipt would be unknown.
        self._done.set()
        await self._renewing

    async def _renew(self) -> None:
        while not await within(self._seconds / 3, self._done.wait()):
            renewal = await self._outage.attempt(
                lambda: self._receiver.update_visibility(self.receipt, visibility_timeout=self._seconds)
            )
            self.receipt = renewal or self.receipt

    async def change(self, change: Callable[[Receipt], Awaitable[object]]) -> None:
        """Tries until the visibility timeout ends. Raises `PopReceiptMismatchError`."""
        await self._outage.retry(lambda: change(self.receipt), self._seconds)


def poison_queue(name: str) -> str:
    return f"{name}-poison"
