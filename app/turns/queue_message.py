"""What is on the queue: the envelope of every message, and the message of kind `turn`, from which another worker
resumes it.

The other kinds are in app/bot/card_actions.py, app/bot/proactive_messages.py and app/turns/rating_queue.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from app.storage.conversations import ConversationKey
from app.storage.ledger import Predecessor, TurnKey
from app.storage.queue import MAX_QUEUE_MESSAGE_BYTES
from app.turns.stall_timer import NOT_STALLED, StallTimer

TURN_KIND = "turn"
"""The kind of a turn that came in as an activity; another way in has another kind, since its payload differs."""

_MAX_REPORTED_ERRORS = 3
# Bytes by which the stall timer's numbers may grow while the message is requeued.
_STALL_TIMER_BYTES = 96
# JSON writes a character in six bytes at most.
_MAX_BYTES_PER_CHARACTER = 6


class UnreadableMessageError(Exception):
    """A message on the queue cannot be read. Says which fields are wrong, never what is in them."""


class Envelope(BaseModel):
    """`kind` says who handles the message; `traceparent` is that of the span in which the work began."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    v: Literal[1]
    kind: str
    traceparent: str | None = None

    @classmethod
    def from_json(cls, body: str | bytes) -> Self:
        """Raises `UnreadableMessageError`."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise UnreadableMessageError(wrong_fields(error)) from None

    def to_json(self) -> str:
        return self.model_dump_json()


@dataclass(frozen=True, slots=True)
class TurnMessage:
    """`asked_at`, in seconds since 1970, gives the turn its place among those that are not answered yet.

    `payload` is the request, written by the channel that took it in: all that is needed to answer without the activity.
    `traceparent` is that of the turn's first span, so that the error id stays the same. `stall_timer` is what was
    observed of the turn before it while the message was requeued. `kind` says who can read the payload.
    """

    key: TurnKey
    asked_at: float
    payload: str = ""
    traceparent: str | None = None
    stall_timer: StallTimer = NOT_STALLED
    kind: str = TURN_KIND

    def to_json(self) -> str:
        """Without `payload` where that is too large for a message: then it is in the ledger."""
        conversation = self.key.conversation
        message = _Message(
            v=1,
            kind=self.kind,
            tenant=conversation.tenant,
            conversation=conversation.conversation,
            thread=conversation.thread,
            activity=self.key.activity_id,
            asked_at=self.asked_at,
            payload=self.payload,
            traceparent=self.traceparent,
        )
        if len(message.to_json().encode()) > MAX_QUEUE_MESSAGE_BYTES - _STALL_TIMER_BYTES:
            message = message.model_copy(update={"payload": ""})
        stall_timer = {
            "predecessor_ticket": self.stall_timer.predecessor.ticket,
            "predecessor_lease_until": self.stall_timer.predecessor.lease_until,
            "stalled_for_seconds": self.stall_timer.stalled_for_seconds,
        }
        return message.model_copy(update=stall_timer).to_json()

    @classmethod
    def from_json(cls, body: str | bytes) -> TurnMessage:
        """Raises `UnreadableMessageError`."""
        message = _Message.from_json(body)
        conversation = ConversationKey(message.tenant, message.conversation, message.thread)
        predecessor = Predecessor(message.predecessor_ticket, message.predecessor_lease_until)
        return cls(
            TurnKey(conversation, message.activity),
            message.asked_at,
            message.payload,
            message.traceparent,
            StallTimer(predecessor, message.stalled_for_seconds),
            message.kind,
        )

    @property
    def has_room_for_payload(self) -> bool:
        if len(self.payload) * _MAX_BYTES_PER_CHARACTER < MAX_QUEUE_MESSAGE_BYTES:
            return True
        return bool(TurnMessage.from_json(self.to_json()).payload)


class _Message(Envelope):
    tenant: str
    conversation: str
    thread: str = ""
    activity: str
    asked_at: float
    payload: str = ""
    predecessor_ticket: int = 0
    predecessor_lease_until: float = 0.0
    stalled_for_seconds: float = 0.0


def wrong_fields(error: ValidationError) -> str:
    """Names of fields and kinds of errors, never the input."""
    problems: list[Any] = error.errors(include_input=False, include_url=False, include_context=False)
    described = [f"{'.'.join(map(str, problem['loc'])) or 'the message'}: {problem['type']}" for problem in problems]
    return "; ".join(described[:_MAX_REPORTED_ERRORS])
