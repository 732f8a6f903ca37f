"""Answers requests with the HTTP triggers of a function app, as Azure Functions does.

Like `func start`, it asks for no function key, unless FUNCTIONS_LOCAL_KEY says what that is.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from azure.functions import HttpRequest, HttpResponse
from multidict import CIMultiDict, MultiMapping

from app.local.indexing import HttpFunction
from app.local.invocation import invoke

MAX_BODY_BYTES = 100 * 1024 * 1024
"""The limit of Azure Functions itself."""

log = logging.getLogger(__name__)


class HttpTriggers:
    """An aiohttp handler for every request to the function app. `key` is that of all functions that need one."""

    def __init__(self, functions: Sequence[HttpFunction], key: str = "") -> None:
        self._functions = functions
        self._key = key

    def server(self) -> web.Server:
        loop = asyncio.get_running_loop()

        def make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:  # noqa: ANN401
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY_BYTES)

        return web.Server(self.handle, request_factory=make_request, access_log=None, auto_decompress=False)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        found = self._find(request)
        if found is None:
            return web.Response(status=404)
        function, route_parameters = found
        if function.needs_key and not self._has_key(request):
            return web.Response(status=401)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return web.Response(status=413)
        try:
            trigger = _http_request(request, route_parameters, body)
            return _web_response(await invoke(function, trigger, trigger.headers))
        except Exception:
            log.exception("function %s failed", function.name)
            return web.Response(status=500)

    def _has_key(self, request: web.BaseRequest) -> bool:
        given = request.headers.get("x-functions-key") or request.query.get("code", "")
        return not self._key or hmac.compare_digest(given.encode(), self._key.encode())

    def _find(self, request: web.BaseRequest) -> tuple[HttpFunction, Mapping[str, str]] | None:
        for function in self._functions:
            if function.methods and request.method not in function.methods:
                continue
            parameters = function.route.match(request.path)
            if parameters is not None:
                return function, parameters
        return None


def _http_request(request: web.BaseRequest, route_parameters: Mapping[str, str], body: bytes) -> HttpRequest:
    return HttpRequest(
        request.method,
        str(request.url),
        headers=_joined(request.headers),
        params=_joined(request.query),
        route_params=route_parameters,
        body=body,
    )


def _joined(values: MultiMapping[str]) -> dict[str, str]:
    """The Functions host hands over one value a name, the repeated ones joined by commas."""
    joined: dict[str, str] = {}
    for name, value in values.items():
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _web_response(answer: object) -> web.Response:
    if answer is None:
        return web.Response(status=204)
    if isinstance(answer, str):
        return web.Response(text=answer)
    if not isinstance(answer, HttpResponse):
        raise TypeError(f"an HTTP function returned {type(answer).__name__}, not an HttpResponse")
    headers = CIMultiDict(answer.headers.items())
    charset = f"; charset={answer.charset}" if answer.mimetype.startswith("text/") else ""
    headers.setdefault("Content-Type", f"{answer.mimetype}{charset}")
    return web.Response(status=answer.status_code, headers=headers, body=answer.get_body())
