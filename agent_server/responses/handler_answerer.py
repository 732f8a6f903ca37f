"""A handler as what answers a turn."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from uuid import uuid4

from agent_server.handlers.direct import loose_events
from agent_server.handlers.handler import Handler, JsonObject
from agent_server.handlers.request_context import request_context
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.protocol.task import Task
from agent_server.responses.turn_call import ResponseTurn, TurnCall, turn_call
from agent_server.tracing.request_trace import NO_TRACING, RequestTracer
from app.agent.events import Answer, End, Event, Failure, ResponsesEvent, TextAdded
from app.agent.journal import ToolJournal
from app.agent.turn import Turn
from app.common.cancellation import Cancellation
from app.content.feedback_target import TraceTarget
from app.storage.conversations import StoredMessage

_TEXT_DELTA = "response.output_text.delta"


KeepTrace = Callable[[ResponseTurn, str], Awaitable[None]]
"""Keeps the id of the trace of a response that is not answered to its end. Never raises."""


async def _forget(_: ResponseTurn, __: str) -> None: ...


class HandlerAnswerer:
    """Implements `app.turns.answerer.Answerer`: what was said before is put in front of the request's input."""

    def __init__(
        self, handler: Handler, task: Task, tracer: RequestTracer = NO_TRACING, *, keep_trace: KeepTrace = _forget
    ) -> None:
        self._handler = handler
        self._task = task
        self._tracer = tracer
        self._keep_trace = keep_trace

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
        assert turn.context is not None
        history = of_branch(history, turn.ancestors)
        prior = list(_items(history))
        request = {**turn.request, "input": [*prior, *turn.request.get("input", ())]}
        prior_ids = frozenset(item["id"] for item in prior)
        call = TurnCall(turn, history, prior_ids, said, journal, approvals or {}, cancellation, deadline)
        said_now = _Said()
        trace = self._tracer.start(
            "responses",
            turn.request,
            response_id=turn.context.response_id,
            conversation_id=turn.context.conversation_id,
            owner=turn.context.caller.owner,
        )
        try:
            with turn_call(call), request_context(turn.context):
                async with aclosing(loose_events(self._handler, self._task, ResponsesRequest(request))) as events:
                    async for event in events:
                        if asyncio.get_running_loop().time() > deadline:
                            # A handler that ignores its cancellation is closed at its next word.
                            raise TimeoutError
                        if said_now.add(event):
                            yield ResponsesEvent(event)
                            if delta := said_now.last_delta:
                                yield TextAdded(delta)
        except ApiError as refusal:
            trace.end(said_now.output, refusal)
            await self._keep_trace(turn, trace.trace_id)
            yield Failure(refusal.message, "", said_now.text)
            return
        except BaseException as error:
            trace.end(said_now.output, error)
            if isinstance(error, asyncio.CancelledError | Exception):
                await self._keep_trace(turn, trace.trace_id)
            raise
        trace.end(said_now.output)
        if trace.trace_id:
            yield ResponsesEvent(_completed_with(trace.trace_id))
        end = call.end or said_now.end()
        if isinstance(end, Failure):
            await self._keep_trace(turn, trace.trace_id)
        yield _with_trace(end, trace.trace_id)


class _Said:
    """What the handler's events come to."""

    def __init__(self) -> None:
        self.last_delta = ""
        self._text: list[str] = []
        self._items: list[JsonObject] = []
        self._failed: JsonObject | None = None

    def add(self, event: JsonObject) -> bool:
        """Whether it is shown as it is."""
        kind = event.get("type")
        self.last_delta = ""
        if kind == _TEXT_DELTA and isinstance(delta := event.get("delta"), str):
            self.last_delta = delta
            self._text.append(delta)
        elif kind == "response.output_item.done":
            self._items.append(event.get("item", {}))
        elif kind == "error":
            self._failed = event
            return False
        return True

    @property
    def output(self) -> JsonObject:
        """For the trace, in the form of a Response object."""
        message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": self.text}]}
        return {"output": self._items or [message]}

    @property
    def text(self) -> str:
        return "".join(self._text)

    def end(self) -> End:
        """Where the handler does not say more itself."""
        if self._failed is None:
            return Answer(self.text)
        return Failure(str(self._failed.get("message") or "The agent failed."), "", self.text)


def _completed_with(trace_id: str) -> JsonObject:
    """As MLflow's own server names it."""
    return {"type": "response.completed", "response": {"metadata": {"trace_id": trace_id}}}


def _with_trace(end: End, trace_id: str) -> End:
    """A rating of the answer counts for its trace."""
    if not trace_id or not isinstance(end, Answer):
        return end
    return replace(end, feedback_targets=(TraceTarget(trace_id), *end.feedback_targets))


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
        content = [{"type": kind, "text": message.text}]
        yield {"type": "message", "id": f"msg_{uuid4().hex}", "role": message.role, "content": content}
