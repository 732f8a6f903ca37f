"""A handler as what answers a turn."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing, nullcontext

from agent_server.handlers.handler import Handler, JsonObject
from agent_server.handlers.request_context import request_context
from agent_server.responses.turn_call import ResponseTurn, TurnCall, turn_call
from app.agent.events import Answer, End, Event, Failure, ResponsesEvent, TextAdded
from app.agent.journal import ToolJournal
from app.agent.turn import Turn
from app.common.cancellation import Cancellation
from app.storage.conversations import StoredMessage

_TEXT_DELTA = "response.output_text.delta"


class HandlerAnswerer:
    """Implements `app.turns.answerer.Answerer`: what was said before is put in front of the request's input."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def answer(
        self,
        turn: Turn,
        history: Sequence[StoredMessage],
        *,
        said: str | None = None,
        journal: ToolJournal | None = None,
        approvals: Mapping[str, bool] | None = None,
        cancellation: Cancellation | None = None,
        deadline: float = math.inf,
    ) -> AsyncGenerator[Event, None]:
        assert isinstance(turn, ResponseTurn)
        history = of_branch(history, turn.ancestors)
        prior = list(_items(history))
        request = {**turn.request, "input": [*prior, *turn.request.get("input", ())]}
        call = TurnCall(turn, history, len(prior), said, journal, approvals or {}, cancellation, deadline)
        text: list[str] = []
        failed: JsonObject | None = None
        with turn_call(call), request_context(turn.context) if turn.context else nullcontext():
            async with aclosing(self._handler.stream(request)) as events:
                async for event in events:
                    kind = event.get("type")
                    if kind == "error":
                        failed = event
                        continue
                    yield ResponsesEvent(event)
                    if kind == _TEXT_DELTA and isinstance(delta := event.get("delta"), str):
                        text.append(delta)
                        yield TextAdded(delta)
        yield call.end or _end("".join(text), failed)


def of_branch(history: Sequence[StoredMessage], ancestors: Collection[str]) -> list[StoredMessage]:
    """Questions and answers of the responses in `ancestors`."""
    kept: list[StoredMessage] = []
    question: StoredMessage | None = None
    for message in history:
        if message.role == "user":
            question = message
        elif message.activity_id in ancestors:
            kept += [message] if question is None else [question, message]
            question = None
    return kept


def _items(history: Iterable[StoredMessage]) -> Iterable[JsonObject]:
    for message in history:
        kind = "input_text" if message.role == "user" else "output_text"
        yield {"type": "message", "role": message.role, "content": [{"type": kind, "text": message.text}]}


def _end(text: str, failed: JsonObject | None) -> End:
    if failed is None:
        return Answer(text)
    return Failure(str(failed.get("message") or "The agent failed."), "", text)
