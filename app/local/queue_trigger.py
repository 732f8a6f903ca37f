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

from azure.functions.queue import QueueMessage

from app.local.host_json import QueueOptions
from app.local.indexing import QueueFunction
from app.local.invocation import succeeds
from app.local.outage import Outage, within
from app.storage.queue import MessageReceiver, PopReceiptMismatchError, Queue, Receipt, ReceivedMessage

# All in seconds.
_SHORTEST_PAUSE = 0.1
_LONGEST_GIVING_BACK = 2.0

# The host's own words, which alerts look for.
_PUT_ASIDE = "Message has reached MaxDequeueCount of %d. Moving message to queue '%s'."

log = logging.getLogger(__name__)


class QueueListener:
    """Messages are hidden for `lock_seconds` at a time while their function runs: that long they wait if
    this
    process is killed.
    """

    def __init__(
        self,
        function: QueueFunction,
        inbox: MessageReceiver,
        poison: Queue | None,
        options: QueueOptions,
        *,
        lock_seconds: float = 30.0,
    ) -> None:
        self._function = function
        self._name = function.queue
        self._inbox = inbox
        self._poison = poison
        self._options = options
        self._lock_seconds = lock_seconds
        self._outage = Outage(f"queue '{function.queue}'")
        self._stopping = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Takes messages until `stop`, whatever storage and the function do, and waits for what runs.

        Cancelled, it cancels what runs; those messages appear again at once.
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
        """From now on no message is taken."""
        self._stopping.set()

    async def _listen(self) -> None:
        pause = _SHORTEST_PAUSE
        while not self._stopping.is_set():
            taken = await self._take()
            for message in taken:
                self._start(self._give_back(message.receipt) if self._stopping.is_set() else self._process(message))
            if taken:
                pause = _SHORTEST_PAUSE
                await self._room_for_more()
            else:
                await within(pause, self._stopping.wait())
                pause = min(pause * random.uniform(1.6, 2.4), self._options.max_polling_interval)

    async def _take(self) -> list[ReceivedMessage]:
        most = self._options.batch_size
        return await self._outage.attempt(lambda: self._inbox.take(most, visibility_timeout=self._lock_seconds)) or []

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _room_for_more(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        while len(self._running) > self._options.new_batch_threshold and not stopping.done():
            await asyncio.wait({*self._running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _process(self, taken: ReceivedMessage) -> None:
        held = _HeldMessage(self._inbox, taken.receipt, self._outage, self._lock_seconds)
        try:
            if taken.dequeue_count > self._options.max_dequeue_count:
                await self._put_aside(taken, held)
                return
            async with held:
                succeeded = await succeeds(self._function, _message(taken), ending=self._stopping.is_set)
            await self._finish(taken, held, succeeded=succeeded)
        except PopReceiptMismatchError:
            log.warning("message %s of queue '%s' has been taken again meanwhile", taken.receipt.message, self._name)
        except asyncio.CancelledError:
            await self._give_back(held.receipt)
            raise

    async def _finish(self, taken: ReceivedMessage, held: _HeldMessage, *, succeeded: bool) -> None:
        """Where storage does not let it, the message appears again by itself. Raises `PopReceiptMismatchError`."""
        if succeeded:
            await held.change(self._inbox.delete)
        elif self._stopping.is_set():
            await self._give_back(held.receipt)
        elif self._poison is not None and taken.dequeue_count >= self._options.max_dequeue_count:
            await self._put_aside(taken, held)
        else:
            await held.change(
                lambda receipt: self._inbox.update_visibility(
                    receipt, visibility_timeout=self._options.visibility_timeout
                )
            )

    async def _put_aside(self, taken: ReceivedMessage, held: _HeldMessage) -> None:
        """Raises `PopReceiptMismatchError`. What is on a poison queue itself stays there."""
        if (poison := self._poison) is None:
            return
        most = self._options.max_dequeue_count
        log.warning(_PUT_ASIDE, most, poison_queue(self._name))
        if await self._outage.insist(lambda: poison.put(taken.body, visibility_timeout=0), self._lock_seconds):
            await held.change(self._inbox.delete)

    async def _give_back(self, receipt: Receipt) -> None:
        with suppress(PopReceiptMismatchError, TimeoutError):
            async with asyncio.timeout(_LONGEST_GIVING_BACK):
                await self._outage.attempt(lambda: self._inbox.update_visibility(receipt, visibility_timeout=0))


class _HeldMessage:
    """Hidden again and again while it is a context, whose end raises `PopReceiptMismatchError` if somebody else has it
    now."""

    def __init__(self, inbox: MessageReceiver, receipt: Receipt, outage: Outage, seconds: float) -> None:
        self.receipt = receipt
        self._inbox = inbox
        self._outage = outage
        self._seconds = seconds
        self._done = asyncio.Event()

    async def __aenter__(self) -> None:
        self._renewing = asyncio.create_task(self._renew())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not cancelled: half a change would leave nobody with a receipt.
        self._done.set()
        await self._renewing

    async def _renew(self) -> None:
        while not await within(self._seconds / 3, self._done.wait()):
            renewed = await self._outage.attempt(
                lambda: self._inbox.update_visibility(self.receipt, visibility_timeout=self._seconds)
            )
            self.receipt = renewed or self.receipt

    async def change(self, change: Callable[[Receipt], Awaitable[object]]) -> None:
        """Tries for as long as the message stays hidden. Raises `PopReceiptMismatchError`."""
        await self._outage.insist(lambda: change(self.receipt), self._seconds)


def poison_queue(name: str) -> str:
    return f"{name}-poison"


def _message(taken: ReceivedMessage) -> QueueMessage:
    receipt = taken.receipt
    return QueueMessage(  # type: ignore[no-untyped-call]
        id=receipt.message, body=taken.body, dequeue_count=taken.dequeue_count, pop_receipt=receipt.pop_receipt
    )
