"""What the bot does with each kind of activity."""

from __future__ import annotations

import hashlib
import logging
from http import HTTPStatus
from typing import Any, Protocol

from botbuilder.core import ActivityHandler, InvokeResponse, TurnContext
from botbuilder.schema import Activity, ChannelAccount

from app.agent.turn import Turn
from app.bot import activity as received
from app.bot.channel import Channel, channel_of
from app.bot.message_reply import MessageReply
from app.bot.outlet import Outlet
from app.bot.question import is_for_bot, question_of, unread_attachments
from app.bot.rendering import activities
from app.bot.stream_reply import StreamReply
from app.storage.conversations import ConversationKey
from app.telemetry.turn import current_turn
from app.turns.reply import Reply
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

WELCOME = """\
Hello! Ask me about your data or your work in Databricks, in your own words.

Type **/help** to see what else I understand."""

MENTION_ME = "\n\nMention me, so that I know you mean me."


class Outlets(Protocol):
    def __call__(self, context: TurnContext, /) -> Outlet: ...


class AgentBot(ActivityHandler):
    """Derives from ActivityHandler, not TeamsActivityHandler: that one fetches the roster when somebody joins."""

    def __init__(self, runner: TurnRunner, outlets: Outlets) -> None:
        super().__init__()
        self._runner = runner
        self._outlets = outlets

    async def on_message_activity(self, turn_context: TurnContext) -> None:
        activity = turn_context.activity
        channel = channel_for(activity)
        if not is_for_bot(activity, needs_mention=channel.needs_mention):
            return
        conversation = conversation_of(activity)
        if (trace := current_turn()) is not None:
            trace.begin(channel=channel.name, conversation=_pseudonym(conversation))
        turn = Turn(
            id=activity.id or "",
            conversation=conversation,
            question=question_of(activity),
            unread=unread_attachments(activity),
            locale=activity.locale or "",
        )
        await self._runner.run(turn, _reply(self._outlets(turn_context), channel), time_limit=channel.time_limit)

    async def on_members_added_activity(self, members_added: list[ChannelAccount], turn_context: TurnContext) -> None:
        activity = turn_context.activity
        bot_joined = any(member.id == activity.recipient.id for member in members_added if activity.recipient)
        if bot_joined and channel_for(activity).welcome:
            hint = MENTION_ME if channel_for(activity).needs_mention else ""
            await self._outlets(turn_context).post(activities.message(WELCOME + hint))

    async def on_invoke_activity(self, turn_context: TurnContext) -> InvokeResponse:
        """Answers what is known; 501 is the protocol's word for the rest."""
        activity = turn_context.activity
        match activity.name:
            case "message/submitAction":
                _log.info("Feedback: %s", _reaction(activity.value))
                return InvokeResponse(status=HTTPStatus.OK, body={})
            case "adaptiveCard/action":
                message = "This button is no longer in use."
                error = {"statusCode": 400, "type": "application/vnd.microsoft.error"}
                return InvokeResponse(
                    status=HTTPStatus.OK, body={**error, "value": {"code": "BadRequest", "message": message}}
                )
        return InvokeResponse(status=HTTPStatus.NOT_IMPLEMENTED)


def _reply(outlet: Outlet, channel: Channel) -> Reply:
    if channel.streaming is not None:
        return StreamReply(outlet, channel, channel.streaming)
    return MessageReply(outlet, channel)


def channel_for(activity: Activity) -> Channel:
    return channel_of(
        activity.channel_id or "",
        conversation_type=received.conversation_type(activity),
        in_copilot=received.is_from_copilot(activity),
        expects_replies=activity.delivery_mode == "expectReplies",
    )


def conversation_of(activity: Activity) -> ConversationKey:
    conversation = activity.conversation.id if activity.conversation else ""
    return ConversationKey(received.tenant_id(activity) or "", f"{activity.channel_id}/{conversation}")


def _pseudonym(conversation: ConversationKey) -> str:
    return hashlib.blake2s(f"{conversation.tenant}/{conversation.conversation}".encode(), digest_size=8).hexdigest()


def _reaction(value: Any) -> str:  # noqa: ANN401 - whatever the client sent
    """`like`, `dislike` or `unknown`: nothing else of the feedback belongs into a log."""
    action = value.get("actionValue") if isinstance(value, dict) else None
    reaction = action.get("reaction") if isinstance(action, dict) else None
    return reaction if reaction in ("like", "dislike") else "unknown"
