"""What comes on the queue: every message is `{"v": 1, "kind": …, …}`, and each kind has one handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from app.telemetry.spans import new_error_id
from app.telemetry.telemetry import Telemetry
from app.telemetry.turn_span import traced, turn_failed
from app.turns.queue_message import Envelope, UnreadableMessageError

_log = logging.getLogger(__name__)

QueueHandler = Callable[[bytes], Awaitable[None]]
"""Gets the whole message. When it returns the message is deleted; when it raises the message is delivered again.

Raises `UnreadableMessageError` for a message that this version cannot read. It may be cancelled when the worker ends.
"""


class ShuttingDownError(Exception):
    """The worker ends before the message is handled: the host has to deliver it again."""


class QueueDispatcher:
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._handlers: dict[str, QueueHandler] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def register(self, kind: str, handler: QueueHandler) -> None:
        """Raises `ValueError` for a kind that has a handler."""
        if kind in self._handlers:
            raise ValueError(f"queue messages of the kind {kind!r} have a handler already")
        self._handlers[kind] = handler

    async def dispatch(self, body: bytes, traceparent: str | None = None) -> None:
        """Returns when the message is no longer needed. Raises what lets the host deliver it again.

        `traceparent` is the host's own, for messages that carry none.
        """
        if self._closed:
            raise ShuttingDownError
        task = asyncio.create_task(self._handle(body, traceparent))
        self._running.add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._running.discard(task)
        self._telemetry.answered()
        if task.cancelled():
            raise ShuttingDownError
        task.result()

    async def close(self) -> None:
        """Cancels what is running, so that it is handed over, and accepts no more."""
        self._closed = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _handle(self, body: bytes, traceparent: str | None) -> None:
        try:
            envelope = Envelope.from_json(body)
            handler = self._handler_of(envelope.kind)
        except UnreadableMessageError as unreadable:
            with traced(self._telemetry.activity("queue", traceparent)):
                _refuse(unreadable)
            raise
        with traced(self._telemetry.activity(f"queue {envelope.kind}", envelope.traceparent or traceparent)):
            try:
                await handler(body)
            except UnreadableMessageError as unreadable:
                _refuse(unreadable)
                raise

    def _handler_of(self, kind: str) -> QueueHandler:
        if (handler := self._handlers.get(kind)) is None:
            raise UnreadableMessageError("kind: unknown")
        return handler


def _refuse(unreadable: UnreadableMessageError) -> None:
    """Another version may be able to read it: the host delivers it again, and in the end to the poison queue."""
    turn_failed(unreadable)
    _log.error("A message on the queue is refused (%s), error id %s", unreadable, new_error_id())
