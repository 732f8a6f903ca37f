"""Thumbs up and thumbs down on an answer (invoke `message/submitAction`), and the button that takes them back."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from botbuilder.core import InvokeResponse
from botbuilder.schema import Activity

from app.bot.inbound.activity import asked_at, locale_of
from app.bot.inbound.conversation_key import conversation_of
from app.bot.invoke_responses import error_response
from app.common.json_values import mapping, text
from app.messaging.actions import ActionAnswer, CardAction
from app.messaging.proactive_sender import NoConversationReferenceError, ProactiveMessage, ProactiveSender
from app.storage.conversations import ConversationKey
from app.storage.storage_errors import StorageError
from app.telemetry.turn_span import feedback_given
from app.translation import Sentence, translator_for
from app.turns.idempotency import ActionInProgressError, IdempotentAction, IdempotentActions, digest
from app.turns.rating_queue import RatingQueue

if TYPE_CHECKING:
    from app.feedback.ratings import Ratings

_log = logging.getLogger(__name__)

TAKE_BACK_VERB: Final = "take_back_rating"
RATED_ANSWER: Final = "answer"
"""The verb of the button that takes a rating back, and the field of its data that names the message of the answer."""

# Teams wants an invoke answered within 5 seconds.
_TIME_LIMIT_SECONDS = 4.0
_MAX_FEEDBACK_CHARACTERS = 50_000
_NO_OPINION = "none"

_NOT_COUNTED = Sentence("This was not counted; try again.")
_RATED = Sentence("Thank you, your rating is recorded.")
_TAKE_BACK = Sentence("Take back my rating")
_TAKEN_BACK = Sentence("Your rating has been taken back.")
_NO_RATING = Sentence("There is no rating of yours to take back.")


class Feedback:
    """Each person's opinion of each answer counts once; they may change their mind. `ratings` is called when the first
    one comes.
    """

    def __init__(
        self,
        ratings: Callable[[], Ratings],
        actions: IdempotentActions,
        queue: RatingQueue,
        proactive: ProactiveSender,
    ) -> None:
        self._ratings = ratings
        self._actions = actions
        self._queue = queue
        self._proactive = proactive

    async def receive(self, activity: Activity) -> InvokeResponse:
        """Teams delivers it again where it is not answered with success."""
        reaction = _reaction(activity.value)
        person = activity.from_property.id if activity.from_property else ""
        conversation = conversation_of(activity)

        async def count() -> dict[str, object]:
            _log.info("Feedback: %s", reaction)
            feedback_given(reaction)
            if reaction in ("like", "dislike") and activity.reply_to_id:
                comment, said_at = _comment(activity.value), asked_at(activity)
                await self._rate(conversation, activity.reply_to_id, person, reaction, comment, said_at)
                await self._offer_to_take_back(conversation, activity.reply_to_id, person, locale_of(activity))
            return {}

        action = _opinion(conversation, activity.reply_to_id, person, digest(activity.value))
        try:
            async with asyncio.timeout(_TIME_LIMIT_SECONDS):
                return InvokeResponse(status=HTTPStatus.OK, body=await self._actions.once(action, count))
        except (ActionInProgressError, StorageError, TimeoutError) as failure:
            _log.warning("Feedback could not be counted (%s)", type(failure).__name__)
            translate = translator_for(locale_of(activity))
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", translate(_NOT_COUNTED))

    async def is_rated(self, action: CardAction) -> bool:
        """Raises `StorageError`."""
        answer = action.data.get(RATED_ANSWER, "")
        reaction = await self._ratings().find(action.conversation, answer, action.caller.user_id)
        return reaction.value != _NO_OPINION

    async def take_back(self, action: CardAction) -> None:
        """Raises `StorageError`, and `ActionInProgressError` where another worker is doing it."""
        answer, person = action.data.get(RATED_ANSWER, ""), action.caller.user_id

        async def count() -> dict[str, object]:
            _log.info("Feedback: taken back")
            await self._rate(action.conversation, answer, person, _NO_OPINION)
            return {}

        await self._actions.once(_opinion(action.conversation, answer, person, _NO_OPINION), count)

    async def _rate(
        self,
        conversation: ConversationKey,
        answer: str,
        person: str,
        reaction: str,
        comment: str = "",
        said_at: float | None = None,
    ) -> None:
        from app.feedback.rating_records import Reaction  # noqa: PLC0415

        at = math.inf if said_at is None else said_at
        rating = await self._ratings().rate(conversation, answer, person, Reaction(reaction), comment, said_at=at)
        await self._queue.put(conversation.tenant, rating)

    async def _offer_to_take_back(self, conversation: ConversationKey, answer: str, person: str, locale: str) -> None:
        """Once for each answer and person: the button stays, and takes back what was said last."""
        from app.content.blocks import Action, Actions  # noqa: PLC0415

        translate = translator_for(locale)
        buttons = Actions((Action(TAKE_BACK_VERB, translate(_TAKE_BACK), {RATED_ANSWER: answer}),))
        id = f"rated/{digest([conversation.conversation, conversation.thread, answer, person])}"
        try:
            await self._proactive.send(ProactiveMessage(id, conversation, translate(_RATED), (buttons,)))
        except NoConversationReferenceError:
            _log.info("A rating cannot be taken back here: the bot cannot write first in its conversation")


class TakeBackAction:
    """An `app.messaging.actions.ActionHandler`. A person takes back their own rating alone."""

    verb = TAKE_BACK_VERB

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback

    async def accept(self, action: CardAction) -> ActionAnswer:
        translate = translator_for(action.locale)
        if not await self._feedback.is_rated(action):
            return ActionAnswer(translate(_NO_RATING), is_accepted=False)
        return ActionAnswer(translate(_TAKEN_BACK))

    async def run(self, action: CardAction) -> None:
        await self._feedback.take_back(action)


def _opinion(conversation: ConversationKey, answer: str | None, person: str | None, choice: str) -> IdempotentAction:
    # A digest, since what is stored outlives the conversation.
    opinion = digest([conversation.conversation, conversation.thread, answer, person])
    return IdempotentAction(conversation.tenant, f"feedback/{opinion}", choice, may_change=True)


def _reaction(value: Any) -> str:  # noqa: ANN401 - any JSON
    """`like`, `dislike` or `unknown`; nothing else of the feedback may be logged."""
    reaction = mapping(mapping(value).get("actionValue")).get("reaction")
    return reaction if reaction in ("like", "dislike") else "unknown"


def _comment(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Teams sends it as JSON in a string: `{"feedbackText": "…"}`."""
    feedback = mapping(mapping(value).get("actionValue")).get("feedback")
    if isinstance(feedback, str):
        try:
            feedback = json.loads(feedback[:_MAX_FEEDBACK_CHARACTERS])
        except (ValueError, RecursionError):
            return ""
    return text(mapping(feedback).get("feedbackText")).strip()
