"""What the bot does with each kind of activity."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Protocol

from botbuilder.core import ActivityHandler, InvokeResponse, TurnContext
from botbuilder.schema import Activity, ChannelAccount

from app.bot.channel import Channel
from app.bot.inbound import activity as received
from app.bot.inbound.inbound_question import InboundQuestion, conversation_of, turn_id_of
from app.bot.inbound.message_text import is_for_bot
from app.bot.rendering import activities
from app.bot.replies.activity_sender import ActivitySender
from app.bot.replies.message_reply import MessageReply
from app.bot.replies.stream_reply import StreamReply
from app.storage.conversations import ConversationKey
from app.storage.ledger import Store
from app.storage.storage_errors import StorageError
from app.telemetry.turn_span import current_turn, feedback_given
from app.translation import Sentence, translator_for
from app.turns.checkpoint import Checkpoint
from app.turns.idempotency import ActionInProgressError, IdempotentAction, IdempotentActions, digest
from app.turns.once import first_time
from app.turns.reply import Reply
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

# In seconds: Teams wants an invoke answered within 5.
_LONGEST_COUNTING = 4.0

WELCOME = Sentence("""\
Hello! Ask me about your data or your work in Databricks, in your own words.

Type **/help** to see what else I understand.""")

ENTERED = "entered"
"""In the state of a message's turn: what is called when the ledger has the question."""

MENTION_ME = Sentence("Mention me, so that I know you mean me.")
_NOT_COUNTED = Sentence("This was not counted; try again.")
_BUTTON_NOT_IN_USE = Sentence("This button is no longer in use.")


class ActivitySenders(Protocol):
    def __call__(self, context: TurnContext, /) -> ActivitySender: ...


class AgentBot(ActivityHandler):
    """Derives from ActivityHandler, not TeamsActivityHandler: that one fetches the roster when somebody joins."""

    def __init__(
        self, runner: TurnRunner, outlets: ActivitySenders, memory: Store, image_hosts: frozenset[str] = frozenset()
    ) -> None:
        super().__init__()
        self._runner = runner
        self._senders = outlets
        self._memory = memory
        self._image_hosts = image_hosts
        self._decisions = IdempotentActions(memory)

    async def close(self) -> None:
        await self._decisions.close()

    async def on_message_activity(self, turn_context: TurnContext) -> None:
        activity = turn_context.activity
        asked = InboundQuestion.by(activity)
        if not is_for_bot(activity, needs_mention=asked.channel.needs_mention):
            return
        conversation = conversation_of(activity)
        trace = current_turn()
        try:
            await self._runner.run(
                asked.turn(turn_id_of(activity), conversation),
                lambda progress: reply_to(
                    self._senders(turn_context), asked, conversation, progress, self._image_hosts
                ),
                asked_at=received.asked_at(activity),
                payload=None if asked.expects_replies else asked.model_dump_json(),
                traceparent=trace.traceparent if trace is not None else None,
                time_limit=asked.channel.time_limit,
                entered=_told_when_entered(turn_context),
            )
        except StorageError:
            # A question that could not be entered is a turn too, and one that failed.
            _begin_trace(asked.channel, conversation)
            raise

    async def on_message_update_activity(self, turn_context: TurnContext) -> None:
        """An edited question is a question of its own."""
        if received.event_type(turn_context.activity) in ("", "editMessage"):
            await self.on_message_activity(turn_context)

    async def on_members_removed_activity(
        self, members_removed: list[ChannelAccount], turn_context: TurnContext
    ) -> None:
        if _is_among(turn_context.activity, members_removed):
            await self._forget(turn_context.activity)

    async def on_installation_update_remove(self, turn_context: TurnContext) -> None:
        # The SDK comes here with an upgrade too, and that is no farewell.
        if turn_context.activity.action == "remove":
            await self._forget(turn_context.activity)

    async def _forget(self, activity: Activity) -> None:
        await self._memory.forget(conversation_of(activity), threads=True)
        _log.info("The app was removed from a conversation, and what it knew of it was deleted")

    async def on_members_added_activity(self, members_added: list[ChannelAccount], turn_context: TurnContext) -> None:
        activity = turn_context.activity
        channel = InboundQuestion.by(activity).channel
        if _is_among(activity, members_added) and channel.welcome and await self._is_first(activity):
            translate = translator_for(received.locale_of(activity))
            said = [translate(each) for each in (WELCOME, *([MENTION_ME] if channel.needs_mention else []))]
            await self._senders(turn_context).post(activities.message("\n\n".join(said)))

    async def _is_first(self, activity: Activity) -> bool:
        if not activity.id:
            return True
        try:
            return await first_time(self._memory, conversation_of(activity), f"welcome/{activity.id}")
        except StorageError:
            # Better welcomed twice than not at all.
            return True

    async def _feedback(self, activity: Activity) -> InvokeResponse:
        """Counts what a person thinks of an answer once; they may change their mind."""
        reaction = _reaction(activity.value)
        person = activity.from_property.id if activity.from_property else ""
        subject = f"feedback/{activity.reply_to_id}/{person}"
        decision = IdempotentAction(conversation_of(activity), subject, digest(activity.value), may_change=True)

        async def count() -> dict[str, object]:
            _log.info("Feedback: %s", reaction)
            feedback_given(reaction)
            return {}

        try:
            async with asyncio.timeout(_LONGEST_COUNTING):
                return InvokeResponse(status=HTTPStatus.OK, body=await self._decisions.once(decision, count))
        except (ActionInProgressError, StorageError, TimeoutError) as failure:
            # Teams tells it again.
            _log.warning("Feedback could not be counted (%s)", type(failure).__name__)
            translate = translator_for(received.locale_of(activity))
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", translate(_NOT_COUNTED))

    async def on_invoke_activity(self, turn_context: TurnContext) -> InvokeResponse:
        """Answers what is known; 501 is the protocol's word for the rest."""
        activity = turn_context.activity
        match activity.name:
            case "message/submitAction":
                return await self._feedback(activity)
            case "adaptiveCard/action":
                message = translator_for(received.locale_of(activity))(_BUTTON_NOT_IN_USE)
                error = {"statusCode": 400, "type": "application/vnd.microsoft.error"}
                return InvokeResponse(
                    status=HTTPStatus.OK, body={**error, "value": {"code": "BadRequest", "message": message}}
                )
        return _refusal(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", "an invoke of this name has no handler")


def _is_among(activity: Activity, members: list[ChannelAccount]) -> bool:
    bot_id = activity.recipient.id if activity.recipient else None
    return bool(bot_id) and any(member.id == bot_id for member in members)


def _refusal(status: HTTPStatus, code: str, message: str) -> InvokeResponse:
    return InvokeResponse(status=status, body={"error": {"code": code, "message": message}})


def reply_to(
    sender: ActivitySender,
    asked: InboundQuestion,
    conversation: ConversationKey,
    progress: Checkpoint,
    image_hosts: frozenset[str],
) -> Reply:
    channel, translate = replace(asked.channel, image_hosts=image_hosts), translator_for(asked.locale)
    _begin_trace(channel, conversation)
    if channel.streaming is not None:
        return StreamReply(sender, channel, channel.streaming, progress, translate=translate)
    return MessageReply(sender, channel, progress, translate=translate)


def _begin_trace(channel: Channel, conversation: ConversationKey) -> None:
    if (trace := current_turn()) is not None:
        trace.begin(channel=channel.name, conversation=_pseudonym(conversation))


def _told_when_entered(context: TurnContext) -> Callable[[], object]:
    told = context.turn_state.get(ENTERED)
    return told if callable(told) else lambda: None


def _pseudonym(key: ConversationKey) -> str:
    return hashlib.blake2s("/".join((key.tenant, key.conversation, key.thread)).encode(), digest_size=8).hexdigest()


def _reaction(value: Any) -> str:  # noqa: ANN401 - whatever the client sent
    """`like`, `dislike` or `unknown`: nothing else of the feedback belongs into a log."""
    action = value.get("actionValue") if isinstance(value, dict) else None
    reaction = action.get("reaction") if isinstance(action, dict) else None
    return reaction if reaction in ("like", "dislike") else "unknown"
