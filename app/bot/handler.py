"""What the bot does with each kind of activity."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from botbuilder.core import ActivityHandler, InvokeResponse, TurnContext
from botbuilder.schema import Activity, ChannelAccount

from app.agent.user_messages import STORAGE_UNAVAILABLE, UNEXPECTED
from app.bot.card_actions import CardActions
from app.bot.channel import DEFAULT_DISPLAY, DisplaySettings
from app.bot.connector.send_errors import ChannelUnreachableError, SendError, ThrottledError
from app.bot.feedback import Feedback
from app.bot.file_consent import FileConsents
from app.bot.inbound.activity import asked_at, event_type, locale_of
from app.bot.inbound.conversation_key import conversation_of
from app.bot.inbound.conversation_reference import reference_of
from app.bot.inbound.inbound_question import InboundQuestion, turn_id_of
from app.bot.inbound.message_text import is_for_bot
from app.bot.inbound.messages_endpoint import RedeliveryNeededError
from app.bot.invoke_responses import error_response
from app.bot.open_reply import begin_trace, open_reply
from app.bot.rendering import activities
from app.bot.replies.activity_sender import ActivitySender
from app.messaging.actions import ask_button
from app.messaging.conversation_references import ConversationReferences
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import current_turn, turn_failed
from app.translation import Sentence, translator_for
from app.turns.idempotency import IdempotentAction, IdempotentActions, digest
from app.turns.reply import UndeliveredError
from app.turns.runner import TurnRunner

_log = logging.getLogger(__name__)

WELCOME = Sentence("""\
Hello! Ask me about your data or your work in Databricks, in your own words.

Type **/help** to see what else I understand.""")

_HELP_BUTTON = Sentence("Help")
MENTION_ME = Sentence("Mention me, so that I know you mean me.")


class ConversationMemory(Protocol):
    """All that is kept of conversations but their references."""

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        """Deletes it, with `threads` that of a channel's threads too. Raises `StorageError`."""
        ...


@dataclass(frozen=True, slots=True)
class BotServices:
    """What the handlers of all activities share."""

    runner: TurnRunner
    sender_for: Callable[[TurnContext], ActivitySender]
    memory: ConversationMemory
    actions: IdempotentActions
    card_actions: CardActions
    references: ConversationReferences
    display: DisplaySettings = DEFAULT_DISPLAY
    file_consents: FileConsents | None = None
    feedback: Feedback | None = None


class AgentHandler(ActivityHandler):
    """Handles one activity.

    `is_durable`: the activity may be acknowledged while it is still being handled, because what remains to be done
    survives this worker, or is not worth a redelivery. A question becomes durable when the ledger has it.

    Not a TeamsActivityHandler: that one fetches the roster of a conversation when somebody joins.
    """

    def __init__(self, services: BotServices, activity: Activity) -> None:
        super().__init__()
        self._services = services
        self.is_durable = not _needs_redelivery_if_lost(activity)

    def _mark_durable(self) -> None:
        self.is_durable = True

    async def on_turn(self, turn_context: TurnContext) -> None:
        """Raises `RedeliveryNeededError`; every other failure is logged, and told to the person who waits."""
        self._record_reference(turn_context.activity)
        try:
            await super().on_turn(turn_context)
        except (SendError, UndeliveredError) as failure:
            # An error message would go the same way.
            turn_failed(failure)
            _log.exception("An answer could not be delivered, error id %s", new_error_id())
        except Exception as error:
            turn_failed(error)
            error_id = new_error_id()
            _log.error("Turn failed, error id %s", error_id, exc_info=error)
            kind = turn_context.activity.type
            if kind in ("message", "messageUpdate"):
                # Redelivered, it would fail again, and each time the person would be told so.
                self._mark_durable()
                await self._send_error_message(turn_context, error, error_id)
            elif kind == "invoke" or isinstance(error, StorageError):
                raise RedeliveryNeededError from error

    def _record_reference(self, activity: Activity) -> None:
        reference = None if _removes_the_bot(activity) else reference_of(activity)
        if reference is not None:
            self._services.references.record(reference)

    async def _send_error_message(self, context: TurnContext, error: Exception, error_id: str) -> None:
        translate = translator_for(locale_of(context.activity))
        sentence = translate(STORAGE_UNAVAILABLE if isinstance(error, StorageError) else UNEXPECTED)
        text = activities.failure_note(sentence, error_id, translate)
        try:
            await self._services.sender_for(context).post(activities.message(text))
        except (ChannelUnreachableError, ThrottledError) as failure:
            # The person may know nothing of it. Where the activity is not acknowledged yet, it comes again.
            raise RedeliveryNeededError from failure
        except SendError as failure:
            _log.warning("The channel did not take an error message (%s)", type(failure).__name__)

    async def on_message_activity(self, turn_context: TurnContext) -> None:
        activity, services = turn_context.activity, self._services
        question = InboundQuestion.of(activity)
        if not is_for_bot(activity, needs_mention=question.channel.needs_mention):
            return
        conversation = conversation_of(activity)
        trace = current_turn()
        try:
            await services.runner.run(
                question.turn(turn_id_of(activity), conversation),
                lambda checkpoint: open_reply(
                    services.sender_for(turn_context), question, conversation, checkpoint, services.display
                ),
                asked_at=asked_at(activity),
                payload=None if question.expects_replies else question.model_dump_json(),
                traceparent=trace.traceparent if trace is not None else None,
                time_limit_seconds=question.channel.time_limit_seconds,
                entered=self._mark_durable,
            )
        except StorageError:
            # A question that could not be entered counts as a turn, and as one that failed.
            begin_trace(question.channel, conversation)
            raise

    async def on_message_update_activity(self, turn_context: TurnContext) -> None:
        """An edited question is a question of its own."""
        if event_type(turn_context.activity) in ("", "editMessage"):
            await self.on_message_activity(turn_context)

    async def on_members_removed_activity(
        self, members_removed: list[ChannelAccount], turn_context: TurnContext
    ) -> None:
        if _removes_the_bot(turn_context.activity):
            await self._forget(turn_context.activity)

    async def on_installation_update_remove(self, turn_context: TurnContext) -> None:
        # The SDK calls this for `remove-upgrade` too, where the app stays.
        if _removes_the_bot(turn_context.activity):
            await self._forget(turn_context.activity)

    async def _forget(self, activity: Activity) -> None:
        conversation = conversation_of(activity)
        await self._services.references.forget(conversation)
        await self._services.memory.forget(conversation, threads=True)
        _log.info("The app was removed from a conversation, and what it had stored of it was deleted")

    async def on_members_added_activity(self, members_added: list[ChannelAccount], turn_context: TurnContext) -> None:
        activity = turn_context.activity
        channel = InboundQuestion.of(activity).channel
        if _bot_is_among(members_added, activity) and channel.welcome and await self._is_first_welcome(activity):
            translate = translator_for(locale_of(activity))
            sentences = (WELCOME, MENTION_ME) if channel.needs_mention else (WELCOME,)
            message = activities.message("\n\n".join(map(translate, sentences)))
            from app.bot.rendering.adaptive_card import adaptive_card, attachment  # noqa: PLC0415
            from app.content.blocks import Actions  # noqa: PLC0415

            buttons = Actions((ask_button(translate(_HELP_BUTTON), "/help"),))
            if buttons.kind in channel.cards and (card := adaptive_card([buttons], translate)) is not None:
                message["attachments"] = [attachment(card)]
            await self._services.sender_for(turn_context).post(message)

    async def _is_first_welcome(self, activity: Activity) -> bool:
        if not activity.id:
            return True
        try:
            conversation = conversation_of(activity)
            welcome = digest([conversation.conversation, activity.id])
            action = IdempotentAction(conversation.tenant, f"welcome/{welcome}")
            return await self._services.actions.is_first(action)
        except StorageError:
            # Two welcomes are better than none.
            return True

    async def on_invoke_activity(self, turn_context: TurnContext) -> InvokeResponse:
        """501 is the protocol's answer to an invoke that the bot does not know."""
        activity = turn_context.activity
        match activity.name:
            case "message/submitAction" if self._services.feedback is not None:
                return await self._services.feedback.receive(activity)
            case "adaptiveCard/action":
                return await self._services.card_actions.receive(activity)
            case "fileConsent/invoke" if self._services.file_consents is not None:
                return await self._services.file_consents.receive(activity)
        return error_response(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", "an invoke of this name has no handler")


def _needs_redelivery_if_lost(activity: Activity) -> bool:
    """Until the ledger has it a message would be lost with its worker, and so would the deletion after a removal."""
    match activity.type:
        case "message" | "messageUpdate":
            return True
        case "installationUpdate":
            return bool(activity.action == "remove")
        case "conversationUpdate":
            return bool(activity.members_removed)
    return False


def _removes_the_bot(activity: Activity) -> bool:
    if activity.type == "installationUpdate":
        return bool(activity.action == "remove")
    return activity.type == "conversationUpdate" and _bot_is_among(activity.members_removed or [], activity)


def _bot_is_among(members: list[ChannelAccount], activity: Activity) -> bool:
    bot_id = activity.recipient.id if activity.recipient else None
    return bool(bot_id) and any(member.id == bot_id for member in members)
