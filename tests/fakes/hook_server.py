"""A server that takes webhooks, on this machine: it refuses, is slow, redirects or hangs up as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Reply:
    """`hangs_up` without an answer; `is_silent` until the client gives up."""

    status: int = 200
    body: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs_up: bool = False
    is_silent: bool = False


@dataclass(frozen=True)
class ReceivedPost:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class HookServer:
    """Answers each post with the next of `replies`, and with `usual` after them."""

    replies: list[Reply] = field(default_factory=list)
    usual: Reply = Reply()
    received: list[ReceivedPost] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.received.append(ReceivedPost(request.path_qs, dict(request.headers), body))
        reply = self.replies.pop(0) if self.replies else self.usual
        if reply.hangs_up:
            assert request.transport is not None
            request.transport.close()
        if reply.is_silent:
            await asyncio.sleep(30)
        return web.Response(status=reply.status, text=reply.body, headers=dict(reply.headers))


@asynccontextmanager
async def running(server: HookServer) -> AsyncIterator[HookServer]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
