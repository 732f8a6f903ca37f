"""MCP over streamable HTTP, without sessions: the next request may reach another instance.

https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0


class McpEndpoint:
    """An ASGI application for POST. `make_server` imports `mcp`, which takes a second: it is called in a thread, with
    the first request. `answers_json`: a call is answered with one JSON document, and reports no progress.

    The host and the origin of a request are not checked here.
    """

    def __init__(
        self, make_server: Callable[[], Server[Any]], *, max_body_bytes: int, answers_json: bool = False
    ) -> None:
        self._make_server = make_server
        self._max_body_bytes = max_body_bytes
        self._answers_json = answers_json
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
            manager = await asyncio.to_thread(self._make_manager)
            async with manager.run():
                started.set_result(manager)
                await self._closing.wait()
        except Exception as error:
            if not started.done():
                started.set_exception(error)
            else:
                _log.exception("The MCP server ended")

    def _make_manager(self) -> StreamableHTTPSessionManager:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415

        return StreamableHTTPSessionManager(
            self._make_server(),
            stateless=True,
            json_response=self._answers_json,
            max_request_body_size=self._max_body_bytes,
        )

    async def close(self) -> None:
        if self._running is None:
            return
        self._closing.set()
        await asyncio.wait({self._running}, timeout=_CLOSE_SECONDS)
        if not self._running.done():
            self._running.cancel()
