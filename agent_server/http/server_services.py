"""What the HTTP application serves: given to it whole, so that tests can give it small implementations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fastapi import APIRouter

from agent_server.handlers.handler import Handler, JsonObject
from agent_server.handlers.request_context import RequestContext
from agent_server.identity.server_caller import LOCAL_OWNER, ServerCaller
from agent_server.mcp.served_tools import ServedTools
from agent_server.protocol.responses_request import ResponsesRequest
from agent_server.server import AgentServer
from agent_server.settings import AppEnvironment, ServerSettings
from agent_server.tracing.request_trace import NO_TRACING, RequestTracer


class StoredResponse(Protocol):
    """One that is kept: it goes on whether or not anybody follows it."""

    @property
    def id(self) -> str: ...

    @property
    def response(self) -> JsonObject:
        """The Response object as it is now."""
        ...

    def events(self) -> AsyncGenerator[Sequence[JsonObject], None]:
        """All its events, from the first to the last, as they come together."""
        ...

    async def finished(self) -> JsonObject:
        """The Response object at its end."""
        ...

    async def cancel(self) -> None: ...


class Responses(Protocol):
    """The responses that are kept. Each method raises `ApiError`; another's response looks unknown."""

    async def create(self, request: ResponsesRequest, context: RequestContext) -> StoredResponse: ...

    async def get(self, response_id: str, caller: ServerCaller) -> JsonObject: ...

    async def follow(
        self, response_id: str, caller: ServerCaller, *, starting_after: int | None = None
    ) -> AsyncGenerator[Sequence[JsonObject], None]: ...

    async def cancel(self, response_id: str, caller: ServerCaller) -> JsonObject: ...

    async def delete(self, response_id: str, caller: ServerCaller) -> JsonObject: ...

    async def input_items(self, response_id: str, caller: ServerCaller) -> JsonObject: ...


@dataclass(frozen=True, slots=True)
class AgentInfo:
    """What `/agent/info` and `/health` say. `storage` is where responses are kept, in a word."""

    name: str = "agent"
    description: str = ""
    version: str = ""
    git_commit: str = ""
    storage: str = ""


IdentifyCaller = Callable[[Mapping[str, str]], ServerCaller]
"""From the headers, whose names are in lower case. Raises `ApiError` where nobody may ask so."""

ReadinessCheck = Callable[[], Awaitable[None]]
"""Raises any exception where what it asks does not work."""


def local_caller(_: Mapping[str, str]) -> ServerCaller:
    """For a server on a developer's machine, where nobody is signed in."""
    return ServerCaller(LOCAL_OWNER)


async def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class ServerServices:
    """Without `responses` nothing is kept. `page_folder` has the built page. `agent` is the Databricks agent that
    handlers may ask. `tools` are served over MCP beside the agent.

    `start` is awaited before the first request. When the server is told to stop, `hand_over` is awaited after the
    running requests had time to end, so that another instance goes on with the rest; then `close`.
    """

    server: AgentServer
    handler: Handler
    settings: ServerSettings
    app: AppEnvironment = field(default_factory=AppEnvironment)
    identify: IdentifyCaller = local_caller
    responses: Responses | None = None
    agent: Handler | None = None
    tracer: RequestTracer = NO_TRACING
    tools: ServedTools | None = None
    info: AgentInfo = field(default_factory=AgentInfo)
    readiness: Mapping[str, ReadinessCheck] = field(default_factory=dict)
    routers: tuple[APIRouter, ...] = ()
    page_folder: Path | None = None
    image_hosts: tuple[str, ...] = ()
    max_upload_bytes: int = 0
    start: Callable[[], Awaitable[None]] = _nothing
    hand_over: Callable[[], Awaitable[None]] = _nothing
    close: Callable[[], Awaitable[None]] = _nothing
