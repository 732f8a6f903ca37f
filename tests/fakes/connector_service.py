"""A channel's connector service over HTTP: keeps what it is sent and answers as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.fake_service import FakeService


@dataclass(frozen=True)
class Call:
    method: str
    path: str
    body: Any
    headers: dict[str, str]

    @property
    def token(self) -> str | None:
        header = self.headers.get("Authorization")
        return header.removeprefix("Bearer ") if header else None


@dataclass(frozen=True)
class Reply:
    """`drop` closes the connection instead of answering, `hold` keeps the caller waiting."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    hold: asyncio.Event | None = None

    @classmethod
    def error(cls, status: int, code: str = "", message: str = "", **headers: str) -> Reply:
        return cls(
            status, {"error": {"code": code, "message": message}}, {k.replace("_", "-"): v for k, v in headers.items()}
        )


class ConnectorService(FakeService):
    """The next replies come from `replies`, then ids are given out; a refused token is answered with 401."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replies: deque[Reply] = deque()
        self.refused_tokens: set[str] = set()
        self.connections = 0
        app = web.Application(client_max_size=10 * 1024 * 1024)
        app.add_routes([web.route("*", "/{path:.*}", self._take)])
        super().__init__(app)

    async def __aexit__(self, *_: object) -> None:
        for reply in self.replies:
            if reply.hold:
                reply.hold.set()
        await super().__aexit__()

    @property
    def service_url(self) -> str:
        return f"{self.url}/teams/"

    @property
    def bodies(self) -> list[Any]:
        return [call.body for call in self.calls]

    async def _take(self, request: web.Request) -> web.StreamResponse:
        content = await request.read()
        body = json.loads(content) if content else None
        self.calls.append(Call(request.method, request.raw_path, body, dict(request.headers)))
        if self.calls[-1].token in self.refused_tokens:
            return web.json_response({"error": {"code": "Unauthorized", "message": "no"}}, status=401)
        reply = self.replies.popleft() if self.replies else Reply(201, {"id": f"a-{len(self.calls)}"})
        if reply.hold is not None:
            await reply.hold.wait()
        if reply.drop:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0)
        if isinstance(reply.body, bytes):
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        text = None if reply.body is None else json.dumps(reply.body)
        return web.Response(status=reply.status, text=text, headers=reply.headers, content_type="application/json")
