"""How a request is answered: by a handler while the client waits, or as a response that is kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from starlette.requests import Request

from agent_server.handlers.handler import JsonObject
from agent_server.handlers.request_context import RequestContext, request_context
from agent_server.http.event_stream import CutError
from agent_server.http.open_answers import OpenAnswers
from agent_server.http.request_frame import HEADERS, REQUEST_ID
from agent_server.http.server_services import Responses, ServerServices, StoredResponse
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.tracing.request_trace import RequestTrace
from agent_server.tracing.stream_output import StreamOutput

_TRACE_HEADER = "x-mlflow-return-trace-id"
_ENDS = ("response.completed", "response.incomplete", "response.failed")


def wants_trace_id(context: RequestContext) -> bool:
    return context.headers.get(_TRACE_HEADER, "").lower() == "true"


class Answering:
    """Everything here raises `ApiError`."""

    def __init__(self, services: ServerServices, answers: OpenAnswers) -> None:
        self._services = services
        self._answers = answers

    def context(self, request: Request) -> RequestContext:
        headers = request.scope[HEADERS]
        caller = self._services.identify(headers)
        return RequestContext(request.scope[REQUEST_ID], caller, headers, agent=self._services.agent)

    @property
    def responses(self) -> Responses:
        if self._services.responses is None:
            raise ApiError(404, "This server keeps no responses.", code="not_found")
        return self._services.responses

    def is_kept(self, request: ResponsesRequest) -> bool:
        if request.asks_for_storage:
            if self._services.responses is None:
                raise ApiError(400, "This server keeps no responses, so it cannot do what this asks.", param="store")
            return True
        is_default = self._services.server.databricks_agent and request.store is not False
        return is_default and self._services.responses is not None

    async def invoke(
        self, name: str, body: JsonObject, context: RequestContext, answering: Coroutine[Any, Any, JsonObject]
    ) -> JsonObject:
        """The answer in one piece, traced, with the trace's id where the client wants it."""
        with request_context(context):
            trace = self._start_trace(name, body, context)
            try:
                answer = await answering
            except BaseException as error:
                trace.end(None, error)
                raise
            trace.end(answer)
        return _with_trace_id(answer, trace.trace_id) if wants_trace_id(context) else answer

    async def stream(
        self, name: str, body: JsonObject, context: RequestContext, answering: AsyncGenerator[JsonObject, None]
    ) -> AsyncGenerator[Sequence[JsonObject], None]:
        """As `invoke`, the frames of a stream."""
        with request_context(context):
            trace = self._start_trace(name, body, context)
            output = StreamOutput()
            try:
                async with aclosing(answering) as frames:
                    async for frame in frames:
                        if trace.trace_id:
                            output.add(frame)
                        yield (frame,)
            except BaseException as error:
                trace.end(output.value, error)
                raise
            trace.end(output.value)
        if wants_trace_id(context) and trace.trace_id:
            yield ({"trace_id": trace.trace_id},)

    def _start_trace(self, name: str, body: JsonObject, context: RequestContext) -> RequestTrace:
        return self._services.tracer.start(name, body, response_id="", conversation_id="", owner=context.caller.owner)

    async def create(self, request: ResponsesRequest, context: RequestContext) -> StoredResponse:
        return await self.responses.create(request, context)

    async def finish(self, stored: StoredResponse) -> JsonObject:
        """The response at its end. Cancelled with its client, unless that is because this server stops."""
        is_finished = False
        try:
            response = await stored.finished()
            is_finished = True
        finally:
            if not is_finished and not self._answers.is_stopping:
                await stored.cancel()
        return response

    async def events(self, stored: StoredResponse) -> AsyncGenerator[Sequence[JsonObject], None]:
        """As `finish`, the events."""
        is_finished = False
        try:
            async with aclosing(stored.events()) as batches:
                async for events in batches:
                    yield events
            is_finished = True
        finally:
            if not is_finished and not self._answers.is_stopping:
                await stored.cancel()

    async def followed(
        self, batches: AsyncGenerator[Sequence[JsonObject], None], context: RequestContext
    ) -> AsyncGenerator[Sequence[JsonObject], None]:
        """`batches` of events, and at their end the trace's id where the client wants it. Raises `CutError` where the
        response goes on without this instance, or has been deleted.
        """
        last: JsonObject = {}
        async with aclosing(batches):
            async for events in batches:
                yield events
                last = events[-1]
        # There are none after the last one.
        if last and last.get("type") not in _ENDS:
            raise CutError
        if wants_trace_id(context) and (trace_id := _trace_id(last.get("response"))):
            yield ({"trace_id": trace_id},)


def _with_trace_id(answer: JsonObject, trace_id: str) -> JsonObject:
    return {**answer, "metadata": {**(answer.get("metadata") or {}), "trace_id": trace_id}} if trace_id else answer


def _trace_id(response: object) -> str:
    metadata = response.get("metadata") if isinstance(response, dict) else None
    trace_id = metadata.get("trace_id") if isinstance(metadata, dict) else None
    return trace_id if isinstance(trace_id, str) else ""
