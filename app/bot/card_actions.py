"""Presses on the buttons of cards (invoke `adaptiveCard/action`): decided within 5 s, done from the queue."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterable
from typing import Any, Final, Literal

from botbuilder.core import InvokeResponse
from botbuilder.schema import Activity
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.bot.inbound.activity import caller_of, locale_of
from app.bot.inbound.conversation_key import conversation_of
from app.bot.inbound.inbound_question import InboundQuestion
from app.bot.invoke_responses import card_error, card_message, card_response
from app.common.caller import Caller
from app.content.block_json import blocks_from_json, blocks_to_json
from app.messaging.actions import ActionAnswer, ActionHandler, CardAction
from app.storage.conversations import ConversationKey
from app.storage.queue import Queue
from app.storage.storage_errors import StorageError
from app.telemetry.spans import new_error_id
from app.telemetry.turn_span import turn_failed
from app.translation import Sentence, Translator, translator_for
from app.turns.idempotency import ActionInProgressError, IdempotentAction, IdempotentActions, digest
from app.turns.queue_message import Envelope, UnreadableMessageError

_log = logging.getLogger(__name__)

ACTION_KIND: Final = "card_action"
ACTION_ID: Final = "action_id"
"""The name of `Actions.id` in the data of a button."""

# Teams wants an invoke answered within 5 seconds.
_ANSWER_SECONDS = 4.0
_MAX_CHARACTERS = 2_000
_MAX_FIELDS = 50

_NOT_IN_USE = Sentence("This button is no longer in use.")
_NOT_DONE = Sentence("This was not done. Please try again.")

Scalar = str | int | float | bool


class _Execute(BaseModel):
    verb: str = Field(max_length=_MAX_CHARACTERS)
    data: dict[str, Any] = Field(default_factory=dict, max_length=_MAX_FIELDS)


class _Press(BaseModel):
    """The value of the invoke."""

    model_config = ConfigDict(hide_input_in_errors=True)

    action: _Execute


class _ActionMessage(Envelope):
    """An accepted action, as it is on the queue."""

    kind: Literal["card_action"] = ACTION_KIND
    id: str
    verb: str
    tenant: str
    conversation: str
    thread: str = ""
    caller: Caller
    data: dict[str, str] = Field(default_factory=dict)
    locale: str = ""
    payload: str = ""

    @classmethod
    def of(cls, action: CardAction) -> _ActionMessage:
        key = action.conversation
        return cls(
            v=1,
            id=action.id,
            verb=action.verb,
            tenant=key.tenant,
            conversation=key.conversation,
            thread=key.thread,
            caller=action.caller,
            data=dict(action.data),
            locale=action.locale,
            payload=action.payload,
        )

    @property
    def action(self) -> CardAction:
        key = ConversationKey(self.tenant, self.conversation, self.thread)
        return CardAction(self.id, self.verb, key, self.caller, self.data, self.locale, self.payload)


class _StoredAnswer(BaseModel):
    text: str = ""
    blocks: str = ""


class _NotAcceptedError(Exception):
    """Carries an answer past the idempotency record, so that another person may still decide."""

    def __init__(self, answer: ActionAnswer) -> None:
        super().__init__()
        self.answer = answer


class CardActions:
    """One handler for each verb. Raises `ValueError` for two of one verb."""

    def __init__(self, handlers: Iterable[ActionHandler], actions: IdempotentActions, queue: Queue) -> None:
        self._handlers: dict[str, ActionHandler] = {}
        for handler in handlers:
            if handler.verb in self._handlers:
                raise ValueError(f"the verb {handler.verb!r} has two handlers")
            self._handlers[handler.verb] = handler
        self._actions = actions
        self._queue = queue

    async def receive(self, activity: Activity) -> InvokeResponse:
        """Answers with a card, a message or an error that Teams shows beside the card."""
        translate = translator_for(locale_of(activity))
        action = _action_of(activity)
        handler = self._handlers.get(action.verb) if action is not None else None
        if action is None or handler is None:
            return card_error(translate(_NOT_IN_USE))
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self._decide(handler, action)
        except _NotAcceptedError as refusal:
            answer = refusal.answer
        except (ActionInProgressError, StorageError, TimeoutError) as failure:
            _log.warning("A press on a button was not accepted in time (%s)", type(failure).__name__)
            return card_error(translate(_NOT_DONE))
        except Exception as error:
            turn_failed(error)
            _log.exception("A press on a button failed, error id %s", new_error_id())
            return card_error(translate(_NOT_DONE))
        return _response(answer, translate)

    async def run(self, body: bytes) -> None:
        """Handles queue messages of the kind `card_action`."""
        action = _ActionMessage.from_json(body).action
        handler = self._handlers.get(action.verb)
        if handler is None:
            raise UnreadableMessageError("verb: unknown")
        await handler.run(action)

    async def _decide(self, handler: ActionHandler, action: CardAction) -> ActionAnswer:
        async def accept() -> dict[str, Any]:
            answer = await handler.accept(action)
            if not answer.is_accepted:
                raise _NotAcceptedError(answer)
            # Before the answer is stored: else a worker that vanishes now would leave an action that is never done.
            await self._queue.put(_ActionMessage.of(action).to_json(), visibility_timeout=0.0)
            return _StoredAnswer(text=answer.text, blocks=blocks_to_json(answer.blocks)).model_dump()

        decision = IdempotentAction(action.conversation.tenant, f"card/{action.id}", action.verb)
        stored = _StoredAnswer.model_validate(await self._actions.once(decision, accept))
        return ActionAnswer(stored.text, blocks_from_json(stored.blocks))


def _action_of(activity: Activity) -> CardAction | None:
    """None for a press that no card of ours can have brought."""
    try:
        press = _Press.model_validate(activity.value).action
    except ValidationError:
        return None
    data = {name: _text(value) for name, value in press.data.items() if isinstance(value, Scalar)}
    decision_id = data.pop(ACTION_ID, "")
    if any(len(text) > _MAX_CHARACTERS for text in (decision_id, *data, *data.values())):
        return None
    conversation, question = conversation_of(activity), InboundQuestion.of(activity)
    if not decision_id:
        # Each press is a decision of its own, and has the id of its activity.
        decision_id = digest([conversation.conversation, conversation.thread, activity.id or uuid.uuid4()])
    payload = question.without_message.model_dump_json()
    caller, locale = caller_of(activity), locale_of(activity)
    return CardAction(decision_id, press.verb, conversation, caller, data, locale, payload)


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _response(answer: ActionAnswer, translate: Translator) -> InvokeResponse:
    from app.bot.rendering.adaptive_card import adaptive_card  # noqa: PLC0415

    card = adaptive_card(answer.blocks, translate)
    return card_message(answer.text) if card is None else card_response(card)
