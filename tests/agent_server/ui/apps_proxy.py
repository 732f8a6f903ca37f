"""What stands in front of an app in Databricks: it says who asks, cuts streams, and may hold them back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

JsonObject = dict[str, Any]

_HOP_BY_HOP = {"connection", "content-encoding", "content-length", "host", "transfer-encoding"}


@dataclass
class AppsProxy:
    """`cuts` says of each stream in turn after how many events it ends. With `holds` no byte of a stream arrives."""

    server: str
    owner: str
    cuts: list[int] = field(default_factory=list)
    holds: bool = False
    questions: list[JsonObject] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        application = web.Application(client_max_size=50_000_000)
        application.router.add_route("*", "/{path:.*}", self._forward)
        application.cleanup_ctx.append(self._client)
        return application

    async def _client(self, application: web.Application) -> Any:
        async with aiohttp.ClientSession(auto_decompress=True) as self._session:
            yield

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None
        body = await request.read()
        if request.method == "POST" and request.path == "/api/responses":
            self.questions.append(json.loads(body))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers |= {"X-Forwarded-User": self.owner, "X-Forwarded-Preferred-Username": "Ada Lovelace"}
        headers |= {"X-Forwarded-Email": "ada@example.com", "X-Forwarded-Host": request.host}
        async with self._session.request(
            request.method, self.server + request.raw_path, headers=headers, data=body, allow_redirects=False
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
            stream = web.StreamResponse(status=answer.status, headers=kept)
            if answer.content_type != "text/event-stream":
                await stream.prepare(request)
                await stream.write(await answer.read())
                return stream
            return await self._stream(request, stream, answer)

    async def _stream(
        self, request: web.Request, stream: web.StreamResponse, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        if self.holds:
            await asyncio.Event().wait()
        await stream.prepare(request)
        cut_after = self.cuts.pop(0) if self.cuts else None
        events = 0
        async for line in answer.content:
            await stream.write(line)
            events += line.startswith(b"data:")
            if events == cut_after:
                # Else the browser may drop what it was sent.
                await asyncio.sleep(0.1)
                assert request.transport is not None
                request.transport.abort()
                break
        return stream
