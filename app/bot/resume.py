"""Queue `turns`: a turn whose worker is gone goes on here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from app.bot.connector.send_errors import SendError
from app.bot.inbound.inbound_question import InboundQuestion, parse_inbound_question
from app.bot.open_reply import open_reply
from app.bot.rendering import activities
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.telemetry.telemetry import Telemetry
from app.telemetry.turn_span import traced, turn_failed, turn_resumed
from app.turns.lease import TurnLease
from app.turns.queue_message import TurnMessage, UnreadableMessageError, parse_turn_message
from app.turns.reply import UndeliveredError
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

# In seconds.
_LONGEST_TYPING = 2.0


class ShuttingDownError(Exception):
    """The turn was not taken over: the host has to bring its message again."""


class TurnQueueHandler:
    def __init__(
        self,
        adapter: ChannelAdapter,
        runner: TurnRunner,
        telemetry: Telemetry,
        image_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._adapter = adapter
        self._runner = runner
        self._telemetry = telemetry
        self._image_hosts = image_hosts
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def resume(self, body: bytes, traceparent: str | None = None) -> None:
        """Returns when the message has done its service. Raises what lets the host bring it again."""
        if self._closed:
            raise ShuttingDownError
        try:
            turn_message = parse_turn_message(body)
            if turn_message.payload:
                # Before the turn is taken: what nobody here can read is left as it is.
                parse_inbound_question(turn_message)
        except UnreadableMessageError as unreadable:
            self._refused(unreadable, traceparent)
            raise
        task = asyncio.create_task(self._traced(turn_message, traceparent))
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
        """Hands running turns over, and takes no more."""
        self._closed = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _traced(self, turn_message: TurnMessage, traceparent: str | None) -> None:
        with traced(self._telemetry.activity("resume", turn_message.traceparent or traceparent)):
            waiting: list[str] = []
            held = await self._taken(turn_message, waiting.append)
            if held is not None:
                await self._go_on(held, turn_message)
            for payload in waiting:
                await self._show_typing(replace(turn_message, payload=payload))

    async def _show_typing(self, turn_message: TurnMessage) -> None:
        """Whoever asked it sees nothing else until the turn before it has ended: once each time it goes round."""
        try:
            asked = parse_inbound_question(turn_message)
        except UnreadableMessageError:
            # Whoever goes on with it says so.
            return
        if not asked.channel.typing:
            return
        with suppress(SendError, TimeoutError):
            async with asyncio.timeout(_LONGEST_TYPING):
                await self._adapter.sender_to(asked.reply_target).post(activities.typing(), retry=False)

    async def _taken(self, turn_message: TurnMessage, has_predecessor: Callable[[str], object]) -> TurnLease | None:
        try:
            try:
                return await self._runner.claim(turn_message, has_predecessor=has_predecessor)
            except StorageError as failure:
                _log.warning("Nobody knows whose a turn is (%s); it is put off", type(failure).__name__)
                await self._runner.requeue(turn_message)
                return None
        except asyncio.CancelledError:
            # Returning would tell the host that the message has done its service.
            raise ShuttingDownError from None

    async def _go_on(self, held: TurnLease, turn_message: TurnMessage) -> None:
        try:
            asked = parse_inbound_question(held.turn_message or turn_message)
        except UnreadableMessageError as unreadable:
            # Another version may be able to read it: as often as the host brings it, and then from the poison queue.
            turn_failed(unreadable)
            _log.error("What a turn begins with is refused (%s), error id %s", unreadable, new_error_id())
            await held.leave()
            raise
        _log.info("A turn goes on here, its try %d", held.record.attempt_count)
        turn_resumed(asked.channel.name)
        await self._answer(held, asked, turn_message)

    async def _answer(self, held: TurnLease, asked: InboundQuestion, turn_message: TurnMessage) -> None:
        conversation = turn_message.key.conversation
        sender = self._adapter.sender_to(asked.reply_target)
        try:
            await self._runner.go_on(
                held,
                asked.turn(turn_message.key.activity, conversation),
                lambda checkpoint: open_reply(sender, asked, conversation, checkpoint, self._image_hosts),
                time_limit=asked.channel.time_limit_seconds,
            )
        except (SendError, UndeliveredError) as failure:
            turn_failed(failure)
            _log.exception("An answer could not be delivered, error id %s", new_error_id())

    def _refused(self, unreadable: UnreadableMessageError, traceparent: str | None) -> None:
        with traced(self._telemetry.activity("resume", traceparent)):
            turn_failed(unreadable)
            _log.error("A message on the queue of turns is refused (%s), error id %s", unreadable, new_error_id())
        self._telemetry.answered()
