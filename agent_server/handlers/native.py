"""`POST /invocations` of the tasks that no other API can say: chat agents, and no task at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from agent_server.handlers.failures import failure_of
from agent_server.handlers.handler import Handler, JsonObject
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.chat_agent_format import ChatAgentChunks, parse_chat_agent_request, whole_answer
from agent_server.protocol.task import Task


def run_native(handler: Handler, task: Task, body: object) -> AsyncGenerator[JsonObject, None]:
    """The handler's events; `{"error": ...}` is the last one where it failed. Raises `ApiError` before any of them, for
    a request that handlers of this task cannot take.
    """
    return _events(handler, task, _request(task, body))


async def _events(handler: Handler, task: Task, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
    whole: Callable[[JsonObject], JsonObject] = ChatAgentChunks().whole_chunk if task is Task.CHAT_AGENT else _as_it_is
    try:
        async with aclosing(handler.stream(request)) as events:
            async for event in events:
                yield whole(event)
    except Exception as error:
        yield failure_of(error).body()


async def answer_native(handler: Handler, task: Task, body: object) -> JsonObject:
    """Raises `ApiError`."""
    request = _request(task, body)
    try:
        answer = await handler.invoke(request)
        return whole_answer(answer) if task is Task.CHAT_AGENT else answer
    except Exception as error:
        raise failure_of(error) from error


def _as_it_is(event: JsonObject) -> JsonObject:
    return event


def _request(task: Task, body: object) -> JsonObject:
    if task is Task.CHAT_AGENT:
        return parse_chat_agent_request(body)
    if not isinstance(body, dict):
        raise ApiError(400, "The body must be a JSON object.", param="")
    return {name: value for name, value in body.items() if name != "stream"}
