"""What the second tab of the page asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from agent_server.http.json_encoding import json_bytes
from agent_server.http.request_body import read_json_object
from agent_server.http.request_frame import headers_of
from agent_server.identity.server_caller import ServerCaller

if TYPE_CHECKING:
    from agent_server.page.incidents import Incidents


def incident_routes(
    find: Callable[[], Awaitable[Incidents]], identify: Callable[[Mapping[str, str]], ServerCaller]
) -> APIRouter:
    """`find` raises `ApiError` where no job watch is configured."""

    async def list_incidents(request: Request) -> Response:
        caller = identify(headers_of(request.scope))
        incidents = await find()
        return _json(await incidents.list_page(caller, request.query_params.get("cursor", "")))

    async def summarize(request: Request) -> Response:
        caller = identify(headers_of(request.scope))
        return _json(await (await find()).summary(caller))

    async def decide(request: Request, id: str) -> Response:
        caller = identify(headers_of(request.scope))
        return _json(await (await find()).decide(caller, id, await read_json_object(request)))

    router = APIRouter()
    router.add_api_route("/api/incidents", list_incidents, methods=["GET"], name="incidents")
    router.add_api_route("/api/incidents/summary", summarize, methods=["GET"], name="incidents_summary")
    router.add_api_route("/api/incidents/{id}/decision", decide, methods=["POST"], name="incident_decision")
    return router


def _json(content: Mapping[str, Any]) -> Response:
    return Response(json_bytes(content), 200, {"Cache-Control": "no-store"}, "application/json")
