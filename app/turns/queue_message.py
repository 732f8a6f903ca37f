"""The message that brings a turn to another worker when the one that had it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.storage.conversations import ConversationKey
from app.storage.ledger import Predecessor, TurnKey
from app.storage.queue import MAX_MESSAGE_BYTES
from app.turns.stall_timer import NOT_STALLED, StallTimer

_MOST_ERRORS = 3
# Bytes that the numbers of a watch may grow by, while the message goes round.
_ROOM_FOR_THE_WATCH = 96


class UnreadableMessageError(Exception):
    """What came on the queue is not a turn. Says which fields are wrong, never what is in them."""


@dataclass(frozen=True, slots=True)
class TurnMessage:
    """`asked_at`, in seconds since 1970, gives the turn its place among those that are not answered yet.

    `payload` is the door's own: all it needs to answer without the activity. `traceparent` is that of the turn's own
    trace, so that the error id stays the same. `watch` is what was seen of the turns before it while the message waited
    for them.
    """

    key: TurnKey
    asked_at: float
    payload: str = ""
    traceparent: str | None = None
    watch: StallTimer = NOT_STALLED

    def written(self) -> str:
        """Without `payload` where that would be too much for a message: then it is in the ledger."""
        conversation = self.key.conversation
        message = _Message(
            v=1,
            tenant=conversation.tenant,
            conversation=conversation.conversation,
            thread=conversation.thread,
            activity=self.key.activity,
            asked_at=self.asked_at,
            payload=self.payload,
            traceparent=self.traceparent,
        )
        if len(message.model_dump_json().encode()) > MAX_MESSAGE_BYTES - _ROOM_FOR_THE_WATCH:
            message = message.model_copy(update={"payload": ""})
        watch = {
            "ahead": self.watch.ahead.lease_until,
            "first": self.watch.ahead.ticket,
            "stalled_for_seconds": self.watch.stalled_for_seconds,
        }
        return message.model_copy(update=watch).model_dump_json()

    @property
    def fits(self) -> bool:
        # JSON writes a character in six bytes at most.
        return len(self.payload) * 6 < MAX_MESSAGE_BYTES or bool(parse_turn_message(self.written()).payload)


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    v: Literal[1]
    tenant: str
    conversation: str
    thread: str = ""
    activity: str
    asked_at: float
    payload: str = ""
    traceparent: str | None = None
    ahead: float = 0.0
    first: int = 0
    stalled_for_seconds: float = 0.0


def parse_turn_message(body: str | bytes) -> TurnMessage:
    """Raises `UnreadableMessageError`."""
    try:
        message = _Message.model_validate_json(body)
    except ValidationError as error:
        raise UnreadableMessageError(_why(error)) from None
    conversation = ConversationKey(message.tenant, message.conversation, message.thread)
    watch = StallTimer(Predecessor(message.first, message.ahead), message.stalled_for_seconds)
    return TurnMessage(
        TurnKey(conversation, message.activity), message.asked_at, message.payload, message.traceparent, watch
    )


def _why(error: ValidationError) -> str:
    problems: list[Any] = error.errors(include_input=False, include_url=False, include_context=False)
    described = [f"{'.'.join(map(str, problem['loc'])) or 'the message'}: {problem['type']}" for problem in problems]
    return "; ".join(described[:_MOST_ERRORS])
