"""A Databricks workspace as the model's client meets it: the serving endpoint API and its sign-in, over HTTP."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

from tests.fakes.fake_service import FakeService

DONE = b"data: [DONE]\n\n"
TOKEN = "dapi0123456789abcdef0123456789abcdef"

Step = bytes | asyncio.Event | Literal["cut", "hang", "heartbeats"]
"""Bytes to write, something to wait for, a connection closed without its end, or silence until the caller leaves, which
heartbeats may break."""


@dataclass(frozen=True)
class EndpointRequest:
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    client_port: int

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True)
class Stream:
    steps: Sequence[Step]
    content_type: str = "text/event-stream"
    status: int = 200


@dataclass(frozen=True)
class HttpReply:
    """`body` is sent as JSON, or as it is when it is text."""

    status: int
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = None


def event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def chat_chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, **more}
    return event(
        {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    )


def chat_stream(*texts: str, finish_reason: str = "stop") -> Stream:
    usage = {"prompt_tokens": 7, "completion_tokens": len(texts), "total_tokens": 7 + len(texts)}
    return Stream(
        [
            *(chat_chunk({"role": "assistant", "content": text}) for text in texts),
            chat_chunk({}, finish_reason),
            event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage}),
            DONE,
        ]
    )


def agent_stream(*texts: str) -> Stream:
    """As a ResponsesAgent behind model serving sends it: deltas, the whole item, no response.completed."""
    content = [{"type": "output_text", "text": "".join(texts), "annotations": []}]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "content": content}
    deltas = [{"type": "response.output_text.delta", "item_id": "msg_1", "delta": text} for text in texts]
    return Stream(
        [*map(event, [*deltas, {"type": "response.output_item.done", "output_index": 0, "item": item}]), DONE]
    )


def databricks_error(status: int, code: str, message: str, **headers: str) -> HttpReply:
    return HttpReply(
        status, {"error_code": code, "message": message}, {k.replace("_", "-"): v for k, v in headers.items()}
    )


class ServingEndpoint(FakeService):
    """`replies` are given in turn; when none is left the answer is "Hello"."""

    def __init__(self, name: str = "my-model", task: str = "llm/v1/chat") -> None:
        self.name = name
        self.task = task
        self.asked: list[EndpointRequest] = []
        self.lookups: list[EndpointRequest] = []
        self.sign_ins: list[dict[str, str]] = []
        self.replies: deque[Stream | HttpReply] = deque()
        self.lookup_replies: deque[HttpReply] = deque()
        self.identity = HttpReply(200, {"userName": "ann@example.com", "displayName": "Ann"})
        self.identified: list[EndpointRequest] = []
        self.sign_in_replies: deque[HttpReply] = deque()
        self.token_lifetime = 3600
        self.accepted_tokens = {TOKEN}
        self.began = asyncio.Event()
        self.disconnected = asyncio.Event()
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_get("/api/2.0/serving-endpoints/{name}", self._describe)
        app.router.add_get("/api/2.0/preview/scim/v2/Me", self._identify)
        app.router.add_post("/serving-endpoints/chat/completions", self._complete)
        app.router.add_post("/serving-endpoints/responses", self._complete)
        app.router.add_post("/oidc/v1/token", self._sign_in)
        super().__init__(app)

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    @property
    def base_url(self) -> str:
        return f"{self.host}/serving-endpoints"

    async def _note(self, request: web.Request) -> EndpointRequest:
        content = await request.read()
        assert request.transport is not None
        port = request.transport.get_extra_info("peername")[1]
        return EndpointRequest(request.path, json.loads(content) if content else {}, dict(request.headers), port)

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        asked = await self._note(request)
        self.lookups.append(asked)
        if self.lookup_replies:
            return _plain(self.lookup_replies.popleft())
        if asked.token not in self.accepted_tokens:
            return _plain(databricks_error(401, "UNAUTHENTICATED", "no"))
        if request.match_info["name"] != self.name:
            return _plain(databricks_error(404, "RESOURCE_DOES_NOT_EXIST", "no such endpoint"))
        return web.json_response({"name": self.name, "task": self.task, "state": {"ready": "READY"}})

    async def _identify(self, request: web.Request) -> web.StreamResponse:
        asked = await self._note(request)
        self.identified.append(asked)
        if asked.token not in self.accepted_tokens:
            return _plain(databricks_error(401, "UNAUTHENTICATED", "no"))
        if self.identity.status == 0:
            await asyncio.Event().wait()
        return _plain(self.identity)

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()}
        login = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        self.sign_ins.append({**form, "login": login})
        if self.sign_in_replies:
            return _plain(self.sign_in_replies.popleft())
        token = f"oauth-token-{len(self.sign_ins)}"
        self.accepted_tokens.add(token)
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": self.token_lifetime})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        asked = await self._note(request)
        self.asked.append(asked)
        if asked.token not in self.accepted_tokens:
            return _plain(
                databricks_error(401, "UNAUTHENTICATED", "Credential was not sent or was of an unsupported type")
            )
        reply = self.replies.popleft() if self.replies else chat_stream("Hello")
        if isinstance(reply, HttpReply):
            return _plain(reply)
        return await self._send(request, reply)

    async def _send(self, request: web.Request, reply: Stream) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type})
        await response.prepare(request)
        self.began.set()
        try:
            for step in reply.steps:
                if isinstance(step, bytes):
                    await response.write(step)
                elif isinstance(step, asyncio.Event):
                    await step.wait()
                elif step == "hang":
                    await asyncio.Event().wait()
                elif step == "heartbeats":
                    while True:
                        await response.write(b": keep-alive\n\n")
                        await asyncio.sleep(0.01)
                else:
                    assert request.transport is not None
                    request.transport.abort()
                    return response
        except (asyncio.CancelledError, ConnectionError):
            self.disconnected.set()
            raise
        await response.write_eof()
        return response


def _plain(answer: HttpReply) -> web.Response:
    if isinstance(answer.body, str):
        return web.Response(
            status=answer.status,
            text=answer.body,
            headers=answer.headers,
            content_type=answer.content_type or "text/plain",
        )
    return web.json_response(answer.body, status=answer.status, headers=answer.headers)
