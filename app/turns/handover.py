"""The message that brings a turn to another worker when the one that had it is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from app.storage.conversations import ConversationKey
from app.storage.ledger import Ahead, TurnKey
from app.storage.queue import MOST_BYTES
from app.turns.watch import NOT_YET, Watch

_MOST_ERRORS = 3
# Bytes that the numbers of a watch may grow by, while the message goes round.
_ROOM_FOR_THE_WATCH = 96


class UnreadableMessage(Exception):
    """What came on the queue is not a turn. Says which fields are wrong, never what is in them."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """`asked_at`, in seconds since 1970, gives the turn its place among those that are not answered yet.

    `begun` is the door's own: all it needs to answer without the activity. `traceparent` is that of the turn's own
    trace, so that the error id stays the same. `watch` is what was seen of the turns before it while the message waited
    for them.
    """

    key: TurnKey
    asked_at: float
    begun: str = ""
    traceparent: str | None = None
    watch: Watch = NOT_YET

    def written(self) -> str:
        """Without `begun` where that would be too much for a message: then it is in the ledger."""
        conversation = self.key.conversation
        message = _Message(
            v=1,
            tenant=conversation.tenant,
            conversation=conversation.conversation,
            thread=conversation.thread,
            activity=self.key.activity,
            asked_at=self.asked_at,
            begun=self.begun,
            traceparent=self.traceparent,
        )
        if len(message.model_dump_json().encode()) > MOST_BYTES - _ROOM_FOR_THE_WATCH:
            message = message.model_copy(update={"begun": ""})
        watch = {"ahead": self.watch.ahead.lease_until, "first": self.watch.ahead.ticket, "still": self.watch.still}
        return message.model_copy(update=watch).model_dump_json()

    @property
    def fits(self) -> bool:
        # JSON writes a character in six bytes at most.
        return len(self.begun) * 6 < MOST_BYTES or bool(read_hand_over(self.written()).begun)


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)

    v: Literal[1]
    tenant: str
    conversation: str
    thread: str = ""
    activity: str
    asked_at: float
    begun: str = ""
    traceparent: str | None = None
    ahead: float = 0.0
    first: int = 0
    still: float = 0.0


def read_hand_over(body: str | bytes) -> HandOver:
    """Raises `UnreadableMessage`."""
    try:
        message = _Message.model_validate_json(body)
    except ValidationError as error:
        raise UnreadableMessage(_why(error)) from None
    conversation = ConversationKey(message.tenant, message.conversation, message.thread)
    watch = Watch(Ahead(message.first, message.ahead), message.still)
    return HandOver(
        TurnKey(conversation, message.activity), message.asked_at, message.begun, message.traceparent, watch
    )


def _why(error: ValidationError) -> str:
    problems: list[Any] = error.errors(include_input=False, include_url=False, include_context=False)
    described = [f"{'.'.join(map(str, problem['loc'])) or 'the message'}: {problem['type']}" for problem in problems]
    return "; ".join(described[:_MOST_ERRORS])
