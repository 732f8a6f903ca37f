"""An application of small parts, over HTTP on this machine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx
import uvicorn

from agent_server.handlers.handler import JsonObject
from agent_server.handlers.request_context import RequestContext
from agent_server.http.application import Application
from agent_server.http.server_services import AgentInfo, ServerServices
from agent_server.http.serving import Server
from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.api_error import not_found
from agent_server.protocol.response_assembler import ResponseAssembler
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.protocol.task import Task
from agent_server.server import AgentServer
from agent_server.settings import ServerSettings, load_server_settings

ADDRESS = "http://127.0.0.1:8000"


class ScriptedHandler:
    """Streams `words`, then waits for `go_on` where it `waits`. `ended` says how each request ended."""

    def __init__(self, words: Sequence[str] = ("Hello", " there"), *, waits: bool = False) -> None:
        self.words = words
        self.waits = waits
        self.go_on = asyncio.Event()
        self.began = asyncio.Event()
        self.ended: list[str] = []
        self.requests: list[JsonObject] = []
        self.error: Exception | None = None

    async def invoke(self, request: JsonObject) -> JsonObject:
        async with aclosing(self.stream(request)) as events:
            async for _ in events:
                pass
        text = {"type": "output_text", "text": "".join(self.words), "annotations": []}
        return {"output": [{"type": "message", "id": "m1", "role": "assistant", "content": [text]}]}

    async def stream(self, request: JsonObject) -> AsyncGenerator[JsonObject, None]:
        self.requests.append(request)
        try:
            for word in self.words:
                yield {"type": "response.output_text.delta", "item_id": "m1", "delta": word}
            self.began.set()
            if self.waits:
                await self.go_on.wait()
            if self.error is not None:
                raise self.error
            self.ended.append("completed")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


class MemoryResponse:
    def __init__(self, assembler: ResponseAssembler, owner: str) -> None:
        self.assembler = assembler
        self.owner = owner
        self.log: list[JsonObject] = []
        self.changed = asyncio.Condition()
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False
        self.vanished = False

    @property
    def id(self) -> str:
        return self.assembler.id

    @property
    def response(self) -> JsonObject:
        return self.assembler.response

    async def add(self, events: list[JsonObject]) -> None:
        async with self.changed:
            self.log += events
            self.changed.notify_all()

    async def events(self, first: int = 0) -> AsyncGenerator[Sequence[JsonObject], None]:
        position = first
        while True:
            while position < len(self.log):
                events, position = self.log[position:], len(self.log)
                yield events
            if self.assembler.has_ended or self.vanished:
                return
            async with self.changed:
                while position == len(self.log) and not (self.assembler.has_ended or self.vanished):
                    await self.changed.wait()

    async def finished(self) -> JsonObject:
        async with aclosing(self.events()) as events:
            async for _ in events:
                pass
        return self.response

    async def cancel(self) -> None:
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()
        await self.add(self.assembler.cancel())


class MemoryResponses:
    """Keeps responses of a handler in memory."""

    def __init__(self, handler: ScriptedHandler) -> None:
        self.handler = handler
        self.kept: dict[str, MemoryResponse] = {}
        self.contexts: list[RequestContext] = []

    async def create(self, request: ResponsesRequest, context: RequestContext) -> MemoryResponse:
        if request.previous_response_id and request.previous_response_id not in self.kept:
            raise not_found("response", request.previous_response_id)
        self.contexts.append(context)
        assembler = ResponseAssembler(f"resp_{len(self.kept)}", time.time(), request)
        response = MemoryResponse(assembler, context.caller.owner)
        self.kept[response.id] = response
        await response.add(assembler.begin())
        response.task = asyncio.create_task(self._run(response, request))
        return response

    async def _run(self, response: MemoryResponse, request: ResponsesRequest) -> None:
        async with aclosing(self.handler.stream(request.body)) as events:
            async for event in events:
                await response.add(response.assembler.add(event))
        await response.add(response.assembler.finish())

    def _find(self, response_id: str, caller: ServerCaller) -> MemoryResponse:
        response = self.kept.get(response_id)
        if response is None or response.owner != caller.owner:
            raise not_found("response", response_id)
        return response

    async def get(self, response_id: str, caller: ServerCaller) -> JsonObject:
        return self._find(response_id, caller).response

    async def follow(
        self, response_id: str, caller: ServerCaller, *, starting_after: int | None = None
    ) -> AsyncGenerator[Sequence[JsonObject], None]:
        return self._find(response_id, caller).events(0 if starting_after is None else starting_after + 1)

    async def cancel(self, response_id: str, caller: ServerCaller) -> JsonObject:
        await self._find(response_id, caller).cancel()
        return self._find(response_id, caller).response

    async def delete(self, response_id: str, caller: ServerCaller) -> JsonObject:
        del self.kept[self._find(response_id, caller).id]
        return {"id": response_id, "object": "response", "deleted": True}

    async def input_items(self, response_id: str, caller: ServerCaller) -> JsonObject:
        self._find(response_id, caller)
        return {"object": "list", "data": [], "has_more": False}

    async def vanish(self, response_id: str) -> None:
        """Its log ends before the response does."""
        self.kept[response_id].vanished = True
        await self.kept[response_id].add([])

    async def close(self) -> None:
        for response in self.kept.values():
            if response.task is not None:
                response.task.cancel()


def settings(**environment: str) -> ServerSettings:
    return load_server_settings(environment)


def services(handler: Any = None, **changed: Any) -> ServerServices:
    task = changed.pop("task", Task.RESPONSES)
    given: dict[str, Any] = {
        "server": AgentServer(task, changed.pop("databricks_agent", False)),
        "handler": handler or ScriptedHandler(),
        "settings": settings(),
        "info": AgentInfo(name="tester", version="1.2.3", description="Answers tests."),
    }
    return ServerServices(**{**given, **changed})


def in_process(made: ServerServices) -> httpx.AsyncClient:
    """Answers come whole: for all that needs no connection."""
    transport = httpx.ASGITransport(Application(made))
    return httpx.AsyncClient(transport=transport, base_url=ADDRESS)


class Running:
    def __init__(self, application: Application, server: Server, port: int) -> None:
        self.application = application
        self.server = server
        self.address = f"http://127.0.0.1:{port}"

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.address, timeout=10, **options)


@asynccontextmanager
async def running(made: ServerServices) -> AsyncIterator[Running]:
    """On a free port, in this loop."""
    import socket

    application = Application(made)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, interface="asgi3", log_config=None, lifespan="on", timeout_graceful_shutdown=1, proxy_headers=False
    )
    server = Server(config)
    task = asyncio.create_task(server._serve([listening]))
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.005)
        yield Running(application, server, listening.getsockname()[1])
    finally:
        server.should_exit = True
        await task


def frames(text: str) -> list[Any]:
    """The JSON of a stream's data lines, and "[DONE]"."""
    lines = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def event_types(text: str) -> list[str]:
    """Of the frames, in order; of the last one its text."""
    return [frame if frame == "[DONE]" else frame["type"] for frame in frames(text)]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event for whatever it is
            await asyncio.sleep(0.005)
