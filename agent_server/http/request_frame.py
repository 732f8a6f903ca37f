"""What surrounds every request: its id, its limits, its headers, its line in the log and its metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent_server.http.error_answers import error_answer, too_large, unexpected
from agent_server.http.metrics import Metrics
from agent_server.http.origins import check_host_and_origin
from agent_server.http.request_id import begin_request
from agent_server.protocol.api_error import ApiError

_log = logging.getLogger(__name__)

REQUEST_ID = "agent_server.request_id"
HEADERS = "agent_server.headers"
# Also for a file of 10 MB over a slow connection.
_BODY_SECONDS = 120.0
_QUIET_ROUTES = ("health", "ready", "metrics")


class RequestFrame:
    """An ASGI application around `app`. `upload_bytes` are the limits of paths that take larger bodies."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        in_app: bool,
        max_body_bytes: int,
        upload_bytes: Mapping[str, int],
        headers: Sequence[tuple[bytes, bytes]],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._in_app = in_app
        self._max_body_bytes = max_body_bytes
        self._upload_bytes = dict(upload_bytes)
        self._headers = list(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1000})
            return
        headers = headers_of(scope)
        request_id = begin_request(headers)
        scope[REQUEST_ID] = request_id
        scope[HEADERS] = headers
        answer = _Answer(send, [*self._headers, (b"x-request-id", request_id.encode())])
        try:
            check_host_and_origin(scope["method"], headers, in_app=self._in_app)
            body = _LimitedBody(receive, self._upload_bytes.get(scope["path"], self._max_body_bytes))
            body.check_length(headers.get("content-length", ""))
            await self._app(scope, body.receive, answer.send)
        except ApiError as error:
            if not answer.status:
                await error_answer(error)(scope, receive, answer.send)
        except Exception as error:
            # The router raises again what its own handler has logged and answered.
            if answer.is_complete:
                return
            failure = unexpected(error, "A request")
            if not answer.status:
                await error_answer(failure)(scope, receive, answer.send)
        finally:
            self._record(scope, answer)

    def _record(self, scope: Scope, answer: _Answer) -> None:
        seconds = time.perf_counter() - answer.began_at
        # The path may be anything that a client has made up, so the log and the metrics name the route.
        route = getattr(scope.get("route"), "name", None) or "none"
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = answer.status or 499
        self._metrics.answered(method, route, status, seconds, (answer.first_bytes_at or seconds))
        level = logging.DEBUG if route in _QUIET_ROUTES and status < 400 else logging.INFO
        _log.log(level, "%s %s: %d after %.3f s", method, route, status, seconds)


def headers_of(scope: Scope) -> dict[str, str]:
    """Names in lower case. The values of one that is there twice are joined (RFC 9110, section 5.3): none of them hides
    another.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class _Answer:
    """`status` is 0 until the answer has begun."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0
        self.is_complete = False
        self.began_at = time.perf_counter()
        self.first_bytes_at = 0.0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._headers]}
        else:
            self.first_bytes_at = self.first_bytes_at or time.perf_counter() - self.began_at
            self.is_complete = not message.get("more_body", False)
        await self._send(message)


class _LimitedBody:
    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._received_bytes = 0
        # Until the body is complete; then what comes is that the client leaves.
        self._until: float | None = asyncio.get_running_loop().time() + _BODY_SECONDS

    def check_length(self, length: str) -> None:
        if length.isascii() and length.isdecimal() and (len(length) > 18 or int(length) > self._max_bytes):
            raise too_large(self._max_bytes)

    async def receive(self) -> Message:
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError:
            raise ApiError(408, "The body did not arrive in time.", code="incomplete_body") from None
        if not message.get("more_body", False):
            self._until = None
        if message["type"] == "http.request":
            self._received_bytes += len(message.get("body", b""))
            if self._received_bytes > self._max_bytes:
                raise too_large(self._max_bytes)
        return message
