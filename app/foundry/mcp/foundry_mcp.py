"""`POST /api/mcp`: the tools of Foundry's agents for MCP clients."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from app.foundry.mcp.asgi_call import asgi_call
from app.foundry.mcp.tool_calls import ToolCalls
from app.http import HttpAnswer
from app.mcp_server.mcp_endpoint import McpEndpoint

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

_PATH = "/api/mcp"
_MAX_BODY_BYTES = 256 * 1024
_TIME_LIMIT_SECONDS = 58.0
_CLOSE_SECONDS = 2.0
_CONTENT_TYPE = {"content-type": "application/json"}
"""Whatever a caller calls it: no body is anything else."""


class FoundryMcp:
    """Whether the caller may call has been checked."""

    def __init__(self, calls: ToolCalls) -> None:
        def make_server() -> Server[Any]:
            from app.foundry.mcp.tool_server import tool_server  # noqa: PLC0415

            return tool_server(calls)

        self._calls = calls
        self._closed = False
        self._receiving: set[asyncio.Task[HttpAnswer]] = set()
        self._endpoint = McpEndpoint(make_server, max_body_bytes=_MAX_BODY_BYTES, answers_json=True)

    async def receive(
        self, method: str, headers: Mapping[str, str], body: bytes, traceparent: str | None = None
    ) -> HttpAnswer:
        """`traceparent` is that of the host's own trace of this call."""
        if method.upper() != "POST":
            # There are no sessions to listen to, or to end.
            return HttpAnswer(HTTPStatus.METHOD_NOT_ALLOWED, "Send MCP requests with POST.", headers={"Allow": "POST"})
        if self._closed:
            return HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, "This worker ends. Call again.")
        given = _CONTENT_TYPE | _of_mcp(headers)
        if traceparent:
            given["traceparent"] = traceparent
        receiving = asyncio.create_task(asgi_call(self._endpoint, "POST", _PATH, given, body))
        self._receiving.add(receiving)
        try:
            async with asyncio.timeout(_TIME_LIMIT_SECONDS):
                return await receiving
        except TimeoutError:
            return HttpAnswer(HTTPStatus.GATEWAY_TIMEOUT, "This took too long. Call again.")
        finally:
            self._receiving.discard(receiving)

    async def close(self) -> None:
        """Hands over what is being answered, and lets its callers be told."""
        self._closed = True
        await self._calls.close()
        if self._receiving:
            await asyncio.wait(self._receiving, timeout=_CLOSE_SECONDS)
        await self._endpoint.close()


def _of_mcp(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of the protocol: keys and tokens end here."""
    lower = {name.lower(): value for name, value in headers.items() if value}
    return {name: value for name, value in lower.items() if name.startswith("mcp-")}
