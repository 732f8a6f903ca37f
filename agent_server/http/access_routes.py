"""`GET /api/access`: what the agent may use here, as whoever asks it."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from agent_server.access.access_check import AccessCheck
from agent_server.access.access_probe import AccessFinding
from agent_server.http.json_encoding import json_bytes
from agent_server.http.request_frame import headers_of
from agent_server.identity.server_caller import ServerCaller

_SHARED_SECONDS = 10.0
_MAX_CALLERS = 100


def access_routes(
    check: AccessCheck,
    identify: Callable[[Mapping[str, str]], ServerCaller],
    clock: Callable[[], float] = time.monotonic,
) -> APIRouter:
    """`identify` is given the headers of a request, in lower case. One check runs at a time, and its findings serve the
    same caller for ten seconds.
    """
    router = APIRouter()
    busy = asyncio.Lock()
    found: OrderedDict[str, tuple[float, list[AccessFinding]]] = OrderedDict()

    async def access(request: Request) -> Response:
        caller = identify(headers_of(request.scope))
        async with busy:
            until, findings = found.get(caller.owner, (0.0, []))
            if clock() >= until:
                findings = await check.run(caller.identity)
                found[caller.owner] = (clock() + _SHARED_SECONDS, findings)
                found.move_to_end(caller.owner)
                while len(found) > _MAX_CALLERS:
                    found.popitem(last=False)
        content = {"ok": all(each.ok for each in findings), "findings": [each.to_json() for each in findings]}
        return Response(json_bytes(content), 200, {"Cache-Control": "no-store"}, "application/json")

    router.add_api_route("/api/access", access, methods=["GET"], name="access")
    return router
