"""A workspace's REST API over HTTP that answers as a test says, and notes what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.fakes.fake_service import FakeService

Disturbance = Literal["cut", "hang", "cut body"]
"""The connection is closed before the answer, or within it; or no answer comes until the client leaves."""


@dataclass(frozen=True)
class ApiRequest:
    method: str
    path_and_query: str
    token: str
    body: Any
    headers: dict[str, str]
    client_port: int


@dataclass(frozen=True)
class ApiReply:
    """`body` is sent as JSON, or as it is where it is text."""

    status: int = 200
    body: Any = field(default_factory=lambda: {"ok": True})
    headers: dict[str, str] = field(default_factory=dict)


class WorkspaceApi(FakeService):
    """`replies` are given in turn; when none is left the answer is `{"ok": true}`. `refused_tokens` get 401."""

    def __init__(self) -> None:
        self.requests: list[ApiRequest] = []
        self.replies: deque[ApiReply | Disturbance] = deque()
        self.refused_tokens: set[str] = set()
        self.arrived = asyncio.Event()
        self.client_left = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        super().__init__(app, handler_cancellation=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        assert request.transport is not None
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.requests.append(
            ApiRequest(
                request.method,
                request.raw_path,
                token,
                json.loads(content) if content else None,
                dict(request.headers),
                request.transport.get_extra_info("peername")[1],
            )
        )
        self.arrived.set()
        if token in self.refused_tokens:
            return _plain(ApiReply(401, {"error_code": "UNAUTHENTICATED", "message": "no"}))
        match self.replies.popleft() if self.replies else ApiReply():
            case ApiReply() as reply:
                return _plain(reply)
            case "hang":
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.client_left.set()
                    raise
            case "cut body":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b'{"ok": ')
        request.transport.abort()
        return web.Response()


def _plain(reply: ApiReply) -> web.Response:
    if isinstance(reply.body, str):
        return web.Response(status=reply.status, text=reply.body, headers=reply.headers)
    return web.json_response(reply.body, status=reply.status, headers=reply.headers)
