"""Which reply a question gets: the channel decides."""

from __future__ import annotations

import hashlib

from app.bot.channel import Channel, DisplaySettings
from app.bot.inbound.inbound_question import InboundQuestion
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.message_reply import MessageReply
from app.bot.replies.stream_reply import StreamReply
from app.storage.conversations import ConversationKey
from app.telemetry.turn_span import current_turn
from app.translation import translator_for
from app.turns.checkpoint import Checkpoint
from app.turns.reply import Reply


def open_reply(
    sender: ActivitySender,
    question: InboundQuestion,
    conversation: ConversationKey,
    checkpoint: Checkpoint,
    display: DisplaySettings,
) -> Reply:
    """The reply to `question`, from `checkpoint` on; the trace of the turn begins here."""
    channel, translate = question.channel.with_settings(display), translator_for(question.locale)
    begin_trace(channel, conversation)
    if channel.streaming is not None:
        return StreamReply(sender, channel, channel.streaming, checkpoint, translate=translate)
    return MessageReply(sender, channel, checkpoint, translate=translate)


def begin_trace(channel: Channel, conversation: ConversationKey) -> None:
    if (trace := current_turn()) is not None:
        trace.begin(channel=channel.name, conversation=_pseudonym(conversation))


def _pseudonym(key: ConversationKey) -> str:
    return hashlib.blake2s("/".join((key.tenant, key.conversation, key.thread)).encode(), digest_size=8).hexdigest()
