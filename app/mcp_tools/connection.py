"""A connection to an MCP server, kept until it breaks. To be imported in a thread: `mcp` takes a second."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from functools import cache
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from app.common.identity import RequestIdentity
from app.mcp_tools.authorization import Authorization

MAX_REPLY_BYTES = 5 * 1024 * 1024
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 300.0

# Its records quote what servers send; what failed is logged here.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


class McpConnectionError(Exception):
    """There is no connection, and nothing was asked of the server. `status` is that of HTTP where it refused."""

    def __init__(self, detail: str, status: int | None = None) -> None:
        super().__init__(detail)
        self.status = status


class McpConnection:
    """One task enters and leaves the client, as its task group demands; others call it meanwhile."""

    def __init__(self, url: str, authorization: Authorization, identity: RequestIdentity) -> None:
        self.identity = identity
        self._url = url
        self._authorization = authorization
        self._closing = asyncio.Event()
        self._status: int | None = None
        self._client: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold())

    @property
    def refused_with(self) -> int | None:
        """The status of HTTP with which the server refused the last message, None where it took it."""
        return self._status

    @property
    def is_open(self) -> bool:
        return not self._task.done()

    async def client(self) -> Client:
        """Raises `McpConnectionError`."""
        return await asyncio.shield(self._client)

    async def close(self) -> None:
        self._closing.set()
        if not self._client.done():
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=_CONNECT_SECONDS)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _hold(self) -> None:
        try:
            async with self._http(await asyncio.to_thread(_tls_context)) as http:
                transport = streamable_http_client(self._url, http_client=http, max_sse_event_size=MAX_REPLY_BYTES)
                async with Client(transport) as client:
                    client.session.validate_tool_result = _as_it_came  # type: ignore[method-assign]
                    self._client.set_result(client)
                    await self._closing.wait()
        except asyncio.CancelledError:
            self._fail("closed")
            raise
        except Exception as error:
            self._fail(_cause(error))
        finally:
            self._fail("closed")

    def _fail(self, detail: str) -> None:
        if not self._client.done():
            self._client.set_exception(McpConnectionError(detail, self._status))
            # Retrieved, so that asyncio does not log it where nobody waits any more.
            self._client.exception()

    def _http(self, tls: ssl.SSLContext) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=tls,
            auth=_Bearer(self),
            headers={"Accept-Encoding": "identity"},
            timeout=httpx2.Timeout(_CONNECT_SECONDS, read=_READ_SECONDS),
            event_hooks={"response": [self._received]},
        )

    async def _received(self, response: httpx2.Response) -> None:
        if response.request.method == "POST":
            self._status = response.status_code if response.status_code >= 400 else None
        response.stream = _Bounded(response)

    async def token(self) -> str:
        return await self._authorization.token(self.identity)

    def forget(self, token: str) -> bool:
        return self._authorization.forget(self.identity, token)


class _Bearer(httpx2.Auth):
    def __init__(self, connection: McpConnection) -> None:
        self._connection = connection

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        token = await self._connection.token()
        if not token:
            yield request
            return
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401 and self._connection.forget(token):
            request.headers["Authorization"] = f"Bearer {await self._connection.token()}"
            yield request


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response) -> None:
        self._stream: Any = response.stream
        # What is sent compressed though it was not asked for may become a thousand times as long.
        self._left = MAX_REPLY_BYTES if "content-encoding" not in response.headers else MAX_REPLY_BYTES // 1000
        self._is_stream = response.headers.get("content-type", "").startswith("text/event-stream")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            # An event of a stream has a limit of its own.
            self._left -= 0 if self._is_stream else len(chunk)
            if self._left < 0:
                raise httpx2.StreamError("the reply is too large")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


@cache
def _tls_context() -> ssl.SSLContext:
    """One for all connections: to load the certificates takes 35 ms of CPU."""
    return httpx2.create_ssl_context()


async def _as_it_came(name: str, result: CallToolResult) -> None:
    """A model reads a result that is not as its tool's schema says; a refused one would be lost after it was made."""


def _cause(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__
