"""Responses that are kept: read, followed, cancelled and deleted by their owner."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from agent_server.handlers.handler import JsonObject
from agent_server.http.answer_routes import PREFIXES
from agent_server.http.answering import Answering
from agent_server.http.event_stream import EventStream
from agent_server.http.json_encoding import json_bytes
from agent_server.http.open_answers import OpenAnswers
from agent_server.http.request_body import read_count, read_flag
from agent_server.http.server_services import ServerServices
from agent_server.http.stream_ends import no_end
from agent_server.protocol.api_error import ApiError


def stored_routes(services: ServerServices, answers: OpenAnswers) -> APIRouter:
    answering = Answering(services, answers)

    async def read(request: Request, response_id: str) -> Response:
        """`?stream=true` follows the response from its first event, or from the one after `starting_after`."""
        caller = answering.context(request).caller
        after = read_count(request, "starting_after")
        if not read_flag(request, "stream"):
            if after is not None:
                raise ApiError(400, "starting_after needs stream=true.", param="starting_after", code="invalid_value")
            return _json(await answering.responses.get(response_id, caller))
        answers.admit()
        events = await answering.responses.follow(response_id, caller, starting_after=after)
        return EventStream(answering.followed(events, answering.context(request)), answers, no_end)

    async def cancel(request: Request, response_id: str) -> Response:
        return _json(await answering.responses.cancel(response_id, answering.context(request).caller))

    async def delete(request: Request, response_id: str) -> Response:
        return _json(await answering.responses.delete(response_id, answering.context(request).caller))

    async def input_items(request: Request, response_id: str) -> Response:
        return _json(await answering.responses.input_items(response_id, answering.context(request).caller))

    router = APIRouter()
    for prefix in PREFIXES:
        path = f"{prefix}/responses/{{response_id}}"
        router.add_api_route(path, read, methods=["GET"], name="response")
        router.add_api_route(path, delete, methods=["DELETE"], name="response")
        router.add_api_route(f"{path}/cancel", cancel, methods=["POST"], name="response_cancel")
        router.add_api_route(f"{path}/input_items", input_items, methods=["GET"], name="response_input_items")
    return router


def _json(content: JsonObject) -> Response:
    return Response(json_bytes(content), media_type="application/json", headers={"Cache-Control": "no-store"})
