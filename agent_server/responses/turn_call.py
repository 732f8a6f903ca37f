"""What the turn of a stored response gives to its handler, beside the request."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from agent_server.handlers.handler import JsonObject
from agent_server.handlers.request_context import RequestContext
from app.agent.events import End
from app.agent.journal import ToolJournal
from app.agent.turn import Turn
from app.common.cancellation import Cancellation
from app.storage.conversations import StoredMessage


@dataclass(frozen=True, slots=True)
class ResponseTurn(Turn):
    """`ancestors` are the responses that this one answers after: of a conversation's messages those count."""

    context: RequestContext | None = None
    request: JsonObject = field(default_factory=dict)
    ancestors: frozenset[str] = frozenset()


@dataclass(slots=True)
class TurnCall:
    """The arguments of `app.agent.agent.Agent.answer`. The items of the request's input with `prior_ids` come from
    `history`. A handler that knows better than its events how the turn ended sets `end`.
    """

    turn: ResponseTurn
    history: Sequence[StoredMessage] = ()
    prior_ids: frozenset[str] = frozenset()
    said: str | None = None
    journal: ToolJournal | None = None
    approvals: Mapping[str, bool] = field(default_factory=dict)
    cancellation: Cancellation | None = None
    deadline: float = math.inf
    end: End | None = None


_current: ContextVar[TurnCall | None] = ContextVar("turn_call", default=None)


def current_turn_call() -> TurnCall | None:
    """None for a request of which nothing is stored."""
    return _current.get()


@contextmanager
def turn_call(call: TurnCall) -> Iterator[None]:
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)
