"""A question with all that is needed to answer it without its activity, as another worker may have to."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from typing import Any

from botbuilder.schema import Activity
from pydantic import BaseModel, ConfigDict, ValidationError

from app.agent.turn import EmptyReason, Quotation, Turn, UnreadReason
from app.bot.channel import Channel, channel_of
from app.bot.inbound.activity import caller_of, conversation_type, is_from_copilot, locale_of, time_zone_of
from app.bot.inbound.message_text import read_message
from app.bot.inbound.reply_target import ReplyTarget
from app.common.caller import UNKNOWN_CALLER, Caller
from app.models.model import ToolCall
from app.storage.conversations import ConversationKey
from app.tools.attached_files import AttachedFile
from app.turns.queue_message import UnreadableMessageError


class InboundQuestion(BaseModel):
    """`fields` are what every reply to the activity has in common. With a `call` there is no question: a button calls
    that tool. `time_zone` and `schedule` as in `Turn`.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    channel_id: str
    conversation_type: str = ""
    in_copilot: bool = False
    expects_replies: bool = False
    service_url: str
    conversation: str
    fields: dict[str, Any]
    question: str
    unread: tuple[str, ...] = ()
    unread_reason: UnreadReason = UnreadReason.KIND
    files: tuple[AttachedFile, ...] = ()
    locale: str = ""
    quotations: tuple[Quotation, ...] = ()
    empty_reason: EmptyReason = EmptyReason.MENTION
    caller: Caller = UNKNOWN_CALLER
    call: ToolCall | None = None
    time_zone: str = ""
    schedule: str = ""

    @classmethod
    def of(cls, activity: Activity) -> InboundQuestion:
        target, message = ReplyTarget.of(activity), read_message(activity)
        return cls(
            channel_id=activity.channel_id or "",
            conversation_type=conversation_type(activity),
            in_copilot=is_from_copilot(activity),
            expects_replies=activity.delivery_mode == "expectReplies",
            service_url=target.service_url,
            conversation=target.conversation,
            fields=target.fields,
            question=message.question,
            unread=message.attachments.unread,
            unread_reason=message.attachments.unread_reason,
            files=message.attachments.files,
            locale=locale_of(activity),
            quotations=message.quotations,
            empty_reason=message.empty_reason,
            caller=caller_of(activity),
            time_zone=time_zone_of(activity),
        )

    @property
    def channel(self) -> Channel:
        channel = channel_of(
            self.channel_id,
            conversation_type=self.conversation_type,
            in_copilot=self.in_copilot,
            expects_replies=self.expects_replies,
        )
        # Nobody waits for the answer to a scheduled question: it comes as a message when it is ready.
        return replace(channel, streaming=None, typing=False) if self.schedule else channel

    @property
    def receives_files(self) -> bool:
        """Teams gives a bot files in one-to-one chats alone, and Copilot gives it none."""
        return not self.in_copilot and self.conversation_type not in {"groupChat", "channel"}

    @property
    def reply_target(self) -> ReplyTarget:
        return ReplyTarget(self.service_url, self.conversation, self.fields)

    @property
    def without_message(self) -> InboundQuestion:
        """Of an invoke: no channel knows a message with its id, so there is none to reply to."""
        fields = {name: value for name, value in self.fields.items() if name != "replyToId"}
        return self.model_copy(update={"fields": fields})

    def turn(self, turn_id: str, conversation: ConversationKey) -> Turn:
        return Turn(
            turn_id,
            conversation,
            self.question,
            self.unread,
            self.locale,
            self.quotations,
            self.empty_reason,
            self.caller,
            self.call,
            self.channel.shows_chart_images,
            self.time_zone,
            self.schedule,
            self.files,
            self.unread_reason,
            self.receives_files,
        )


def parse_inbound_question(payload: str) -> InboundQuestion:
    """Raises `app.turns.queue_message.UnreadableMessageError`."""
    try:
        return InboundQuestion.model_validate_json(payload)
    except ValidationError as error:
        wrong = {".".join(map(str, problem["loc"])) or problem["type"] for problem in error.errors(include_input=False)}
        raise UnreadableMessageError(f"payload: {', '.join(sorted(wrong))}") from None


def turn_id_of(activity: Activity) -> str:
    """The same for a repeat; another for another text, as a message keeps its id when it is edited."""
    attachments = activity.attachments or ()
    what = [activity.text or "", *(attachment.name or "" for attachment in attachments)]
    if not what[0].strip():
        # The words are in the message's HTML.
        what += [attachment.content for attachment in attachments if isinstance(attachment.content, str)]
    if activity.type == "messageUpdate" and activity.timestamp is not None:
        # Edited there and back again.
        what.append(activity.timestamp.isoformat())
    return f"{activity.id or uuid.uuid4()}/{hashlib.sha256(chr(0).join(what).encode()).hexdigest()[:16]}"
