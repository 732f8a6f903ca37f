"""Queue `turns`: a turn whose worker is gone is continued here."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from app.bot.channel import DEFAULT_DISPLAY, DisplaySettings
from app.bot.connector.send_errors import ConversationClosedError, SendError
from app.bot.inbound.inbound_question import InboundQuestion, parse_inbound_question
from app.bot.open_reply import open_reply
from app.bot.rendering import activities
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.messaging.conversation_references import ConversationReferences
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import turn_failed, turn_resumed
from app.turns.claiming import ClaimedTurn, WaitingTurn
from app.turns.lease import TurnLease
from app.turns.queue_message import TurnMessage
from app.turns.reply import UndeliveredError
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

_TYPING_TIMEOUT_SECONDS = 2.0


class TurnMessageHandler:
    """Handles queue messages of the kind `turn`."""

    def __init__(
        self,
        adapter: ChannelAdapter,
        runner: TurnRunner,
        references: ConversationReferences,
        display: DisplaySettings = DEFAULT_DISPLAY,
    ) -> None:
        self._adapter = adapter
        self._runner = runner
        self._references = references
        self._display = display

    async def handle(self, body: bytes) -> None:
        message = TurnMessage.from_json(body)
        match await self._claim(message):
            case ClaimedTurn(lease, question):
                await self._execute(lease, question, message)
            case WaitingTurn(question):
                await self._show_typing(question)

    async def _claim(self, message: TurnMessage) -> ClaimedTurn[InboundQuestion] | WaitingTurn[InboundQuestion] | None:
        try:
            return await self._runner.claim(message, parse_inbound_question)
        except StorageError as failure:
            _log.warning("A turn on the queue cannot be claimed (%s); it is requeued", type(failure).__name__)
            await self._runner.requeue(message)
            return None

    async def _show_typing(self, question: InboundQuestion) -> None:
        """The person sees nothing else until the turn before theirs has ended: once each time it is requeued."""
        if not question.channel.typing:
            return
        with suppress(SendError, TimeoutError):
            async with asyncio.timeout(_TYPING_TIMEOUT_SECONDS):
                await self._adapter.sender_to(question.reply_target).post(activities.typing(), retry=False)

    async def _execute(self, lease: TurnLease, question: InboundQuestion, message: TurnMessage) -> None:
        _log.info("A turn is resumed, attempt %d", lease.record.attempt_count)
        turn_resumed(question.channel.name)
        conversation = message.key.conversation
        sender = self._adapter.sender_to(question.reply_target)
        try:
            await self._runner.execute(
                lease,
                question.turn(message.key.activity_id, conversation),
                lambda checkpoint: open_reply(sender, question, conversation, checkpoint, self._display),
                time_limit_seconds=question.channel.time_limit_seconds,
            )
        except ConversationClosedError as refusal:
            _log.info("A conversation is closed to the bot (%s); its reference is deleted", refusal)
            turn_failed(refusal)
            # With it go the schedules of the conversation, at their next occasion.
            await self._references.forget(conversation)
        except (SendError, UndeliveredError) as failure:
            turn_failed(failure)
            _log.exception("An answer could not be delivered, error id %s", new_error_id())
