"""A service on this machine, for as long as its `async with` lasts."""

from __future__ import annotations

from typing import Self

from aiohttp import web
from aiohttp.test_utils import TestServer


class FakeService:
    def __init__(self, app: web.Application, *, handler_cancellation: bool = False) -> None:
        self._server = TestServer(app, host="127.0.0.1", handler_cancellation=handler_cancellation)

    async def __aenter__(self) -> Self:
        await self._server.start_server(shutdown_timeout=0.1)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"
