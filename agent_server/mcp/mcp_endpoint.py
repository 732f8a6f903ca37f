"""The agent as an MCP server: `ask`, `get_answer` where answers are kept, and the agent's tools that only read.

Without sessions: the next request may reach another instance. https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from agent_server.identity.server_caller import ServerCaller
from agent_server.mcp.served_tools import ServedTools
from agent_server.protocol.api_error import ApiError

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class AskAnswer:
    """`is_running`: it is not complete yet, and can be had later by `response_id`."""

    text: str
    response_id: str = ""
    is_running: bool = False
    failed: bool = False


class AskedAgent(Protocol):
    """Raises `ApiError`. `keeps_answers`: `get` works, and an answer can be followed up."""

    @property
    def keeps_answers(self) -> bool: ...

    async def ask(self, request: Request, question: str, previous_response_id: str) -> AskAnswer: ...

    async def get(self, request: Request, response_id: str) -> AskAnswer: ...


@dataclass(frozen=True, slots=True)
class McpServices:
    name: str
    version: str
    description: str
    agent: AskedAgent
    caller_of: Callable[[Request], ServerCaller]
    tools: ServedTools | None
    max_body_bytes: int


class McpEndpoint:
    """An ASGI application for POST. `mcp` is imported, in a thread, with the first request: that takes a second."""

    def __init__(self, services: McpServices) -> None:
        self._services = services
        self._running: asyncio.Task[None] | None = None
        self._started: asyncio.Future[StreamableHTTPSessionManager] | None = None
        self._closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        manager = await self._manager()
        await manager.handle_request(scope, receive, send)

    def _manager(self) -> Awaitable[StreamableHTTPSessionManager]:
        if self._started is None or (self._started.done() and self._started.exception() is not None):
            self._started = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._started))
        return asyncio.shield(self._started)

    async def _run(self, started: asyncio.Future[StreamableHTTPSessionManager]) -> None:
        # The manager's tasks belong to the task that has opened it.
        try:
            manager = await asyncio.to_thread(_manager_of, self._services)
            async with manager.run():
                started.set_result(manager)
                await self._closing.wait()
        except Exception as error:
            if not started.done():
                started.set_exception(error)
            else:
                _log.exception("The MCP server ended")

    async def close(self) -> None:
        if self._running is None:
            return
        self._closing.set()
        await asyncio.wait({self._running}, timeout=_CLOSE_SECONDS)
        if not self._running.done():
            self._running.cancel()


def _manager_of(services: McpServices) -> StreamableHTTPSessionManager:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415

    from agent_server.mcp.mcp_server import mcp_server  # noqa: PLC0415

    # The host and the origin have been checked for every route, with the proxy in mind.
    return StreamableHTTPSessionManager(
        mcp_server(services), stateless=True, max_request_body_size=services.max_body_bytes
    )


def text_of(response: dict[str, Any]) -> AskAnswer:
    """A Response object as the result of a tool."""
    response_id = str(response.get("id") or "")
    status = response.get("status")
    output = [item for item in response.get("output") or [] if isinstance(item, dict)]
    parts = [
        part.get("text") or part.get("refusal") or ""
        for item in output
        if item.get("type") == "message"
        for part in item.get("content") or []
    ]
    text = "\n\n".join(filter(None, parts))
    if status in ("queued", "in_progress"):
        return AskAnswer("The answer is not complete yet.", response_id, is_running=True)
    if any(item.get("type") == "mcp_approval_request" for item in output):
        asks = "The agent waits for a person to approve a tool. That is done in the agent's page, or with its API."
        text = "\n\n".join(filter(None, [text, asks]))
    if status == "failed":
        fault = (response.get("error") or {}).get("message") or "The agent could not answer."
        return AskAnswer("\n\n".join(filter(None, [text, fault])), response_id, failed=True)
    return AskAnswer(text or "(The agent answered without any text.)", response_id)


def failed_answer(error: ApiError) -> AskAnswer:
    return AskAnswer(error.message, failed=True)
