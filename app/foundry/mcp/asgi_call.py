"""One HTTP request to an ASGI application, answered whole: Azure Functions hands both over in one piece."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.types import ASGIApp, Message

from app.http import HttpAnswer


async def asgi_call(app: ASGIApp, method: str, path: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
    """The body of the answer is UTF-8. The caller is taken to stay until there is one."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()],
        "client": None,
        "server": None,
    }
    received = asyncio.Queue[Message]()
    received.put_nowait({"type": "http.request", "body": body, "more_body": False})
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, received.get, send)
    start = next(each for each in sent if each["type"] == "http.response.start")
    answered = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start.get("headers", [])}
    content = b"".join(each.get("body", b"") for each in sent if each["type"] == "http.response.body")
    return HttpAnswer(
        start["status"],
        content.decode(),
        answered.get("content-type", "text/plain"),
        {name: value for name, value in answered.items() if name not in ("content-type", "content-length")},
    )
