"""Proactive messages: put on the queue, and delivered from there, throttled for each conversation."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final, Literal

from app.bot.channel import channel_of
from app.bot.connector.send_errors import ConversationClosedError, ThrottledError
from app.bot.inbound.conversation_reference import target_of
from app.bot.rendering import activities
from app.bot.rendering.markdown import render
from app.bot.sdk.channel_adapter import ChannelAdapter
from app.content.block_json import BlocksUnreadableError, blocks_from_json, blocks_to_json
from app.messaging.conversation_references import ConversationReference, ConversationReferences
from app.messaging.proactive_sender import NoConversationReferenceError, ProactiveMessage
from app.storage.conversations import ConversationKey
from app.storage.queue import Queue
from app.translation import translator_for
from app.turns.idempotency import ActionInProgressError, IdempotentAction, IdempotentActions
from app.turns.queue_message import Envelope, UnreadableMessageError

_log = logging.getLogger(__name__)

PROACTIVE_KIND: Final = "proactive_message"

# Teams takes 1,800 messages an hour in one conversation:
# https://learn.microsoft.com/microsoftteams/platform/bots/how-to/rate-limit
_SECONDS_BETWEEN_MESSAGES = 2.0
_MAX_WAIT_SECONDS = 5.0
_THROTTLED_SECONDS = 30.0
_IN_PROGRESS_SECONDS = 10.0


class _ProactiveQueueMessage(Envelope):
    kind: Literal["proactive_message"] = PROACTIVE_KIND
    id: str
    tenant: str
    conversation: str
    thread: str = ""
    text: str
    blocks: str = ""


class ConversationThrottle:
    """Limits how fast this worker sends messages to one conversation. `clock` is in seconds."""

    def __init__(self, seconds_between: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds_between = seconds_between
        self._clock = clock
        self._next: dict[tuple[str, str], float] = {}

    def reserve(self, conversation: ConversationKey, max_wait_seconds: float) -> tuple[float, bool]:
        """Seconds until the conversation's next message may be sent, and whether that moment is reserved.

        It is reserved unless it is further away than `max_wait_seconds`.
        """
        now = self._clock()
        self._next = {key: moment for key, moment in self._next.items() if moment > now}
        key = (conversation.tenant, conversation.conversation)
        moment = max(now, self._next.get(key, now))
        if moment - now > max_wait_seconds:
            return moment - now, False
        self._next[key] = moment + self._seconds_between
        return moment - now, True


class ProactiveMessages:
    """An `app.messaging.proactive_sender.ProactiveSender`, and the handler of its queue messages."""

    def __init__(
        self,
        adapter: ChannelAdapter,
        references: ConversationReferences,
        actions: IdempotentActions,
        queue: Queue,
        *,
        throttle: ConversationThrottle | None = None,
    ) -> None:
        self._adapter = adapter
        self._references = references
        self._actions = actions
        self._queue = queue
        self._throttle = throttle or ConversationThrottle(_SECONDS_BETWEEN_MESSAGES)

    async def send(self, message: ProactiveMessage) -> None:
        """As `app.messaging.proactive_sender.ProactiveSender`."""
        key = message.conversation
        if not await self._references.can_write_to(key):
            raise NoConversationReferenceError
        body = _ProactiveQueueMessage(
            v=1,
            id=message.id,
            tenant=key.tenant,
            conversation=key.conversation,
            thread=key.thread,
            text=message.text,
            blocks=blocks_to_json(message.blocks) if message.blocks else "",
        ).to_json()
        await self._queue.put(body, visibility_timeout=0.0)

    async def deliver(self, body: bytes) -> None:
        """Handles queue messages of the kind `proactive_message`. What it raises lets the host deliver them again."""
        message = _parse(body)
        reference = await self._references.find(message.conversation)
        if reference is None:
            _log.info("A proactive message is dropped: its conversation has no reference any more")
            return
        wait_seconds, reserved = self._throttle.reserve(message.conversation, _MAX_WAIT_SECONDS)
        if not reserved:
            await self._requeue(body, wait_seconds)
            return
        await asyncio.sleep(wait_seconds)
        await self._send_once(message, reference, body)

    async def _send_once(self, message: ProactiveMessage, reference: ConversationReference, body: bytes) -> None:
        async def post() -> dict[str, Any]:
            sender = self._adapter.sender_to(target_of(reference, message.conversation.thread))
            return {"activity_id": await sender.post(_activity(message, reference))}

        try:
            await self._actions.once(IdempotentAction(reference.tenant_id, f"proactive/{message.id}"), post)
        except ConversationClosedError as refusal:
            _log.info("A conversation is closed to the bot (%s); its reference is deleted", refusal)
            await self._references.forget(message.conversation)
        except ThrottledError as throttled:
            await self._requeue(body, throttled.retry_after_seconds or _THROTTLED_SECONDS)
        except ActionInProgressError:
            await self._requeue(body, _IN_PROGRESS_SECONDS)

    async def _requeue(self, body: bytes, seconds: float) -> None:
        await self._queue.put(body.decode(), visibility_timeout=seconds)


def _parse(body: bytes) -> ProactiveMessage:
    """Raises `UnreadableMessageError`."""
    message = _ProactiveQueueMessage.from_json(body)
    try:
        blocks = blocks_from_json(message.blocks)
    except BlocksUnreadableError as error:
        raise UnreadableMessageError(f"blocks: {error}") from None
    key = ConversationKey(message.tenant, message.conversation, message.thread)
    return ProactiveMessage(message.id, key, message.text, blocks)


def _activity(message: ProactiveMessage, reference: ConversationReference) -> dict[str, Any]:
    from app.bot.rendering.adaptive_card import adaptive_card, attachment  # noqa: PLC0415
    from app.bot.rendering.block_markdown import markdown  # noqa: PLC0415

    channel = channel_of(reference.channel_id, conversation_type=reference.conversation_type)
    translate = translator_for(reference.locale)
    on_card = [block for block in message.blocks if block.kind in channel.cards]
    in_text = [markdown(block, translate, frozenset()) for block in message.blocks if block.kind not in channel.cards]
    activity = activities.message("\n\n".join([render(message.text), *in_text]))
    card = adaptive_card(on_card, translate, draws_charts=channel.draws_charts)
    return activity if card is None else {**activity, "attachments": [attachment(card)]}
