"""Both ways to ask for an answer, where people wrote one of them or both."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from agent_server.handlers.handler import JsonObject
from agent_server.handlers.handler_function import HandlerFunction
from agent_server.protocol.task import Task
from agent_server.protocol.task_format import task_format


class FunctionPair:
    """A `Handler`. What is missing is derived from the other, as the task's format has it; one must be there."""

    def __init__(self, task: Task, invoke: HandlerFunction | None, stream: HandlerFunction | None) -> None:
        self._format = task_format(task)
        self._invoke = invoke
        self._stream = stream

    async def invoke(self, request: JsonObject) -> JsonObject:
        if self._invoke is not None:
            return await self._invoke.call(request)
        async with aclosing(self.stream(request)) as events:
            return self._format.joined([event async for event in events])

    def stream(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        return self._stream.iterate(request) if self._stream is not None else self._derived_stream(request)

    async def _derived_stream(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        for event in self._format.events_of(await self.invoke(request)):
            yield event
