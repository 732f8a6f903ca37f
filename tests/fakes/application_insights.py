"""Application Insights' ingestion endpoint: takes what the real exporter sends."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

_STEPS_OF_ACCEPTING = 10


@dataclass
class ApplicationInsights:
    """`items` are the envelopes that arrived; every request is answered with `status`."""

    status: int = 200
    items: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    address: str = ""
    tls: ssl.SSLContext | None = None
    hold: asyncio.Event | None = None
    _runner: web.AppRunner | None = None
    _listening: socket.socket | None = None
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def connection_string(self) -> str:
        key = "00000000-0000-4000-8000-000000000001"
        return f"InstrumentationKey={key};IngestionEndpoint={self.address};LiveEndpoint={self.address}"

    async def __aenter__(self) -> ApplicationInsights:
        app = web.Application()
        app.router.add_post("/{slashes:/*}v2.1/track", self._track)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        self._listening = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, self._listening, ssl_context=self.tls).start()
        port = self._listening.getsockname()[1]
        self.address = f"{'https' if self.tls else 'http'}://localhost:{port}/"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._runner
        assert self._listening
        # An exporter's thread may connect at this moment, and what asyncio has accepted and not yet made a connection
        # when its server closes is left open for good: first nothing more is accepted, then it closes.
        asyncio.get_running_loop().remove_reader(self._listening)
        for _ in range(_STEPS_OF_ACCEPTING):
            await asyncio.sleep(0)
        await self._runner.cleanup()

    def of(self, base_type: str) -> list[dict[str, Any]]:
        """The data of every item of one kind: RequestData, RemoteDependencyData, MetricData."""
        return [item["data"]["baseData"] for item in self.items if item["data"]["baseType"] == base_type]

    def tags(self, base_type: str) -> list[dict[str, Any]]:
        return [item["tags"] for item in self.items if item["data"]["baseType"] == base_type]

    def metric(self, name: str) -> list[dict[str, Any]]:
        return [data for data in self.of("MetricData") if data["metrics"][0]["name"] == name]

    async def until(self, arrived: Callable[[], bool], *, within: float) -> None:
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(arrived)

    async def _track(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        items = json.loads(body)
        self.authorizations.append(request.headers.get("Authorization"))
        if self.hold is not None:
            await self.hold.wait()
        if self.status == 200:
            async with self._news:
                self.items += items
                self._news.notify_all()
        accepted = len(items) if self.status == 200 else 0
        answer = {"itemsReceived": len(items), "itemsAccepted": accepted, "errors": []}
        response = web.json_response(answer, status=self.status)
        # The exporter keeps its connections, and TLS to a client that is still there does not end.
        response.force_close()
        return response
