"""Foundry's tools over MCP as the local host serves them, with requests that are kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

import azure.functions as func
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from app.foundry.mcp.foundry_mcp import FoundryMcp
from app.foundry.mcp.tool_calls import ToolCalls
from app.foundry.requests.tool_request import KeptValue, OpenRequest, ToolRequest
from app.foundry.tools.foundry_tool import PreparedCall, RefusedCallError, ToolCallContext
from app.local import host
from app.local.indexing import index
from app.local.lifetime import listen, port_of

KEY = "the-function-key"


@dataclass
class Weather:
    """A `FoundryTool` that answers when it may."""

    name: str = "weather"
    queue_name: str = "weather"
    description: str = "Says the weather."
    parameters: Mapping[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {"query": {"type": "string"}}}
    )
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    calls: list[Mapping[str, Any]] = field(default_factory=list)

    def prepare(self, arguments: Mapping[str, Any]) -> PreparedCall:
        return lambda context: self.call(arguments, context)

    async def call(self, arguments: Mapping[str, Any], context: ToolCallContext) -> str:
        self.calls.append(arguments)
        context.progress("Asking the satellites")
        await self.go_on.wait()
        if not arguments.get("query"):
            raise RefusedCallError("There is no question.")
        return f"Sunny in {arguments['query']}"


class MemoryRequests:
    """As `ToolRequests`, for every worker that has it."""

    def __init__(self, *tools: Weather) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self.kept: dict[tuple[str, str], KeptValue | OpenRequest] = {}
        self.requests: list[ToolRequest] = []
        self.fails_with: Exception | None = None
        self.found = 0

    async def answer(self, request: ToolRequest, *, progress: Callable[[str], None]) -> KeptValue | None:
        if self.fails_with is not None:
            raise self.fails_with
        self.requests.append(request)
        key = (request.tool, request.correlation_id)
        self.kept[key] = OpenRequest()
        try:
            text = await self._tools[request.tool].call(
                request.arguments, ToolCallContext(request.correlation_id, progress=progress)
            )
            value = KeptValue(text)
        except RefusedCallError as refusal:
            value = KeptValue(str(refusal), failed=True)
        self.kept[key] = value
        return value

    async def find(self, tool: str, correlation_id: str) -> KeptValue | OpenRequest | None:
        self.found += 1
        if self.fails_with is not None:
            raise self.fails_with
        return self.kept.get((tool, correlation_id))


def ready(**changes: Any) -> Weather:
    tool = Weather(**changes)
    tool.go_on.set()
    return tool


@dataclass
class Served:
    address: str
    tool: Weather
    requests: MemoryRequests

    @asynccontextmanager
    async def client(self, mode: Literal["auto", "legacy"] = "auto", **more: Any) -> AsyncIterator[Client]:
        async with (
            httpx2.AsyncClient(headers={"x-functions-key": KEY}, timeout=20) as http,
            Client(streamable_http_client(self.address, http_client=http), mode=mode, **more) as client,
        ):
            yield client

    async def post(self, content: bytes | str, **headers: str) -> httpx2.Response:
        given = {"x-functions-key": KEY, "content-type": "application/json", **headers}
        async with httpx2.AsyncClient(timeout=20) as http:
            return await http.post(self.address, content=content, headers=given)


@asynccontextmanager
async def served(tool: Weather, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setenv("FUNCTIONS_LOCAL_KEY", KEY)
    requests = MemoryRequests(tool)
    served_mcp = FoundryMcp(ToolCalls([tool], requests))
    listener = listen(0)
    async with host.serving(index(_function_app(served_mcp), ""), listener):
        yield Served(f"http://127.0.0.1:{port_of(listener)}/api/mcp", tool, requests)
    await served_mcp.close()


def _function_app(served_mcp: FoundryMcp) -> ModuleType:
    app = func.FunctionApp()

    @app.route("api/mcp", methods=["POST", "GET", "DELETE"], auth_level=func.AuthLevel.FUNCTION)
    async def mcp(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        trace = context.trace_context.trace_parent
        answer = await served_mcp.receive(req.method, req.headers, req.get_body(), traceparent=trace)
        return func.HttpResponse(
            answer.body, status_code=answer.status, headers=answer.headers, mimetype=answer.content_type
        )

    module = ModuleType("served_functions")
    vars(module)["app"] = app
    return module
