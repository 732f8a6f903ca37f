"""MCP over streamable HTTP, without sessions: the next request may reach another instance.

https://modelcontextprotocol.io/specification
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0
_ACCEPT = (b"accept", b"application/json, text/event-stream")
"""`mcp` refuses who does not say so, as many clients and programs do not:
https://github.com/modelcontextprotocol/typescript-sdk/issues/1944, https://github.com/arabold/docs-mcp-server/issues/349
"""


@dataclass(frozen=True, slots=True)
class _Managers:
    """`streaming` answers with a stream of events, `whole` with one JSON document."""

    streaming: StreamableHTTPSessionManager
    whole: StreamableHTTPSessionManager


class McpEndpoint:
    """An ASGI application for POST. `make_server` imports `mcp`, which takes a second: it is called in a thread, with
    the first request. A caller that does not name `text/event-stream`, or every one where it `answers_json`, gets one
    JSON document, and no progress.

    The host and the origin of a request are not checked here.
    """

    def __init__(
        self, make_server: Callable[[], Server[Any]], *, max_body_bytes: int, answers_json: bool = False
    ) -> None:
        self._make_server = make_server
        self._max_body_bytes = max_body_bytes
        self._answers_json = answers_json
        self._running: asyncio.Task[None] | None = None
        self._started: asyncio.Future[_Managers] | None = None
        self._closing = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        managers = await self._managers()
        takes_events = any(
            name == b"accept" and b"text/event-stream" in value.lower() for name, value in scope["headers"]
        )
        manager = managers.streaming if takes_events and not self._answers_json else managers.whole
        headers = [_ACCEPT, *(header for header in scope["headers"] if header[0] != b"accept")]
        await manager.handle_request({**scope, "headers": headers}, receive, send)

    def _managers(self) -> Awaitable[_Managers]:
        if self._started is None:
            self._started = asyncio.get_running_loop().create_future()
            self._running = asyncio.create_task(self._run(self._started))
        return asyncio.shield(self._started)

    async def _run(self, started: asyncio.Future[_Managers]) -> None:
        # A manager's tasks belong to the task that has opened it.
        try:
            managers = await asyncio.to_thread(self._make_managers)
            async with managers.streaming.run(), managers.whole.run():
                started.set_result(managers)
                await self._closing.wait()
        except (Exception, BaseExceptionGroup) as error:
            if not started.done():
                started.set_exception(error)
            else:
                _log.exception("The MCP server ended")
        finally:
            # The next request starts another: https://github.com/modelcontextprotocol/python-sdk/issues/1104
            self._started = None

    def _make_managers(self) -> _Managers:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager  # noqa: PLC0415

        def manager(*, answers_json: bool) -> StreamableHTTPSessionManager:
            return StreamableHTTPSessionManager(
                server, stateless=True, json_response=answers_json, max_request_body_size=self._max_body_bytes
            )

        server = self._make_server()
        return _Managers(streaming=manager(answers_json=False), whole=manager(answers_json=True))

    async def close(self) -> None:
        if self._running is None:
            return
        self._closing.set()
        await asyncio.wait({self._running}, timeout=_CLOSE_SECONDS)
        if not self._running.done():
            self._running.cancel()
