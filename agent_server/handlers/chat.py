"""Requests of chat completions, answered by a handler of any task while the client waits."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agent_server.handlers.direct import answer_direct, run_direct
from agent_server.handlers.failures import failure_of
from agent_server.handlers.handler import Handler, JsonObject
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.chat_answer import ChatChunks, completion_of
from agent_server.protocol.chat_format import WholeChunks, chunk_error, whole_completion
from agent_server.protocol.chat_request import ChatRequest, responses_request_of
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.protocol.task import Task


def run_chat(handler: Handler, task: Task, request: ChatRequest) -> AsyncGenerator[JsonObject, None]:
    """The chunks; `{"error": ...}` is the last one where the handler failed. Raises `ApiError` before any of them, for
    a request that handlers of this task cannot take.
    """
    if task is Task.CHAT:
        return _own_chunks(handler, request)
    chunks = ChatChunks(request.model, include_usage=request.include_usage)
    return _chunks(chunks, run_direct(handler, task, _translated(request)))


async def answer_chat(handler: Handler, task: Task, request: ChatRequest) -> JsonObject:
    """The completion. Raises `ApiError`."""
    if task is not Task.CHAT:
        return completion_of(await answer_direct(handler, task, _translated(request)), request.model)
    try:
        return whole_completion(await handler.invoke(request.body), request.model)
    except Exception as error:
        raise failure_of(error) from error


async def _chunks(chunks: ChatChunks, events: AsyncGenerator[JsonObject, None]) -> AsyncGenerator[JsonObject, None]:
    async with aclosing(events):
        async for event in events:
            for chunk in chunks.add(event):
                yield chunk


async def _own_chunks(handler: Handler, request: ChatRequest) -> AsyncGenerator[JsonObject, None]:
    chunks = WholeChunks(request.model)
    try:
        async with aclosing(handler.stream(request.body)) as events:
            async for event in events:
                if error := chunk_error(event):
                    raise error
                yield chunks.add(event)
        for chunk in chunks.end():
            yield chunk
    except Exception as error:
        yield failure_of(error).body()


def _translated(request: ChatRequest) -> ResponsesRequest:
    translated = responses_request_of(request)
    if translated.asks_for_storage:
        sentence = "Chat completions have no memory: send all messages, or ask /responses."
        raise ApiError(400, sentence, param="context.conversation_id", code="unsupported_parameter")
    return translated
