"""Requests of the Responses API, answered while the client waits: nothing is kept, and all ends when it leaves."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import uuid4

from agent_server.handlers.failures import failure_of
from agent_server.handlers.handler import Handler, JsonObject
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.response_assembler import ResponseAssembler
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.protocol.task import Task
from agent_server.protocol.task_format import EventReader, TaskFormat, task_format


def run_direct(handler: Handler, task: Task, request: ResponsesRequest) -> AsyncGenerator[JsonObject, None]:
    """The strict events, the first of them at once. What the handler raises becomes `error` and `response.failed`.
    Raises `ApiError` before any of them, for a request that handlers of this task cannot take.
    """
    return _strict_events(loose_events(handler, task, request), _new_assembler(request))


async def _strict_events(
    loose: AsyncGenerator[JsonObject, None], assembler: ResponseAssembler
) -> AsyncGenerator[JsonObject, None]:
    for event in assembler.begin():
        yield event
    try:
        async with aclosing(loose):
            async for said in loose:
                for event in assembler.add(said):
                    yield event
        for event in assembler.finish():
            yield event
    except Exception as error:
        failure = failure_of(error)
        for event in assembler.fail(failure.message, failure.code, failure.param):
            yield event


async def answer_direct(handler: Handler, task: Task, request: ResponsesRequest) -> JsonObject:
    """The Response object. Raises `ApiError` where it would be `failed`."""
    assembler = _new_assembler(request)
    try:
        async with aclosing(loose_events(handler, task, request, stream=False)) as loose:
            async for said in loose:
                assembler.add(said)
        assembler.finish()
    except Exception as error:
        raise failure_of(error) from error
    response = assembler.response
    if failure := response["error"]:
        raise ApiError(500, failure["message"], type="server_error", code=failure["code"])
    return response


def loose_events(
    handler: Handler, task: Task, request: ResponsesRequest, *, stream: bool = True
) -> AsyncGenerator[JsonObject, None]:
    """What a handler of any task yields, as events that `ResponseAssembler` takes; what the handler raises, they raise.
    Without `stream` it is asked for its answer in one piece. Raises `ApiError` before any of them, for a request
    that handlers of this task cannot take.
    """
    format = task_format(task)
    body = format.request(request)
    if not stream:
        return _read(format.reader(), _invoked(handler, format, body))
    # Those of the Responses API need no reading: one generator less for each word of an answer.
    return handler.stream(body) if format.is_responses else _read(format.reader(), handler.stream(body))


async def _invoked(handler: Handler, format: TaskFormat, body: JsonObject) -> AsyncGenerator[JsonObject, None]:
    for event in format.events_of(await handler.invoke(body)):
        yield event


async def _read(reader: EventReader, events: AsyncGenerator[JsonObject, None]) -> AsyncGenerator[JsonObject, None]:
    async with aclosing(events):
        async for event in events:
            for loose in reader.read(event):
                yield loose
    for loose in reader.end():
        yield loose


def _new_assembler(request: ResponsesRequest) -> ResponseAssembler:
    return ResponseAssembler(f"resp_{uuid4().hex}", int(time.time()), request)
