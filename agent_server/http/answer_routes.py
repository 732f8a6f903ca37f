"""Questions: `/invocations` in the format of the server's task, `/responses` and `/chat/completions` in OpenAI's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from agent_server.handlers.chat import answer_chat, run_chat
from agent_server.handlers.direct import answer_direct, run_direct
from agent_server.handlers.handler import JsonObject
from agent_server.handlers.native import answer_native, run_native
from agent_server.handlers.request_context import RequestContext
from agent_server.http.answering import Answering
from agent_server.http.event_stream import EventStream, StreamEnd, until_client_leaves
from agent_server.http.json_encoding import json_bytes
from agent_server.http.open_answers import OpenAnswers, restarting, took_too_long
from agent_server.http.request_body import read_json_object
from agent_server.http.server_services import ServerServices, StoredResponse
from agent_server.http.stream_ends import chat_end, no_end, responses_end
from agent_server.protocol.agent_items import refuse_unless_honoured
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.chat_request import parse_chat_request, refuse_chat_model_parameters
from agent_server.protocol.request_parameters import refuse_unless_default
from agent_server.protocol.responses_request import ResponsesRequest, parse_responses_request
from agent_server.protocol.task import Task

PREFIXES = ("", "/v1", "/api", "/api/v1")
"""OpenAI's clients are given a base address with or without /v1; tokens are documented for /api of an app."""


def answer_routes(services: ServerServices, answers: OpenAnswers) -> APIRouter:
    routes = _AnswerRoutes(services, answers)
    router = APIRouter()
    for prefix in PREFIXES:
        router.add_api_route(f"{prefix}/invocations", routes.invocations, methods=["POST"], name="invocations")
        router.add_api_route(f"{prefix}/responses", routes.responses, methods=["POST"], name="responses")
        router.add_api_route(f"{prefix}/chat/completions", routes.chat, methods=["POST"], name="chat_completions")
    return router


class _AnswerRoutes:
    def __init__(self, services: ServerServices, answers: OpenAnswers) -> None:
        self._services = services
        self._task = services.server.task
        self._answers = answers
        self._time_limit_seconds = services.settings.turns.timeout_seconds
        self._answering = Answering(services, answers)

    async def invocations(self, request: Request) -> Response:
        """In the format of the server's task."""
        if self._task is Task.RESPONSES:
            return await self.responses(request)
        if self._task is Task.CHAT:
            return await self.chat(request)
        body, context = await self._begin(request)
        handler = self._services.handler
        if _streams(body):
            frames = run_native(handler, self._task, body)
            return self._stream(self._answering.stream("invocations", body, context, frames), chat_end)
        answer = answer_native(handler, self._task, body)
        return _json(await self._waited_for(request, self._answering.invoke("invocations", body, context, answer)))

    async def responses(self, request: Request) -> Response:
        body, context = await self._begin(request)
        asked = parse_responses_request(body)
        if self._services.server.databricks_agent:
            refuse_unless_default(asked.body)
            refuse_unless_honoured(asked.input)
        if self._answering.is_kept(asked):
            return await self._kept(request, asked, context)
        handler = self._services.handler
        if asked.stream:
            frames = run_direct(handler, self._task, asked)
            return self._stream(self._answering.stream("responses", body, context, frames), responses_end)
        answer = answer_direct(handler, self._task, asked)
        return _json(await self._waited_for(request, self._answering.invoke("responses", body, context, answer)))

    async def chat(self, request: Request) -> Response:
        body, context = await self._begin(request)
        asked = parse_chat_request(body)
        if self._services.server.databricks_agent:
            refuse_chat_model_parameters(asked)
        handler = self._services.handler
        if asked.stream:
            frames = run_chat(handler, self._task, asked)
            return self._stream(self._answering.stream("chat_completions", body, context, frames), chat_end)
        answer = answer_chat(handler, self._task, asked)
        return _json(await self._waited_for(request, self._answering.invoke("chat_completions", body, context, answer)))

    async def _begin(self, request: Request) -> tuple[JsonObject, RequestContext]:
        context = self._answering.context(request)
        body = await read_json_object(request)
        # Not before: others may have begun while the body arrived.
        self._answers.admit()
        return body, context

    async def _kept(self, request: Request, asked: ResponsesRequest, context: RequestContext) -> Response:
        stored = await self._answering.create(asked, context)
        if asked.stream:
            events = stored.events() if asked.background else self._answering.events(stored)
            return self._stream(self._answering.followed(events, context), no_end)
        return _json(stored.response if asked.background else await self._completed(request, stored))

    async def _completed(self, request: Request, stored: StoredResponse) -> JsonObject:
        return await self._waited_for(request, self._answering.finish(stored), is_kept=True)

    async def _waited_for(
        self, request: Request, work: Coroutine[Any, Any, JsonObject], *, is_kept: bool = False
    ) -> JsonObject:
        """Raises `ApiError`, and `ClientLeftError`."""
        with self._answers.opened(is_kept=is_kept) as answer:
            try:
                async with asyncio.timeout(self._time_limit_seconds):
                    return await until_client_leaves(request.receive, work)
            except TimeoutError:
                raise took_too_long() from None
            except asyncio.CancelledError:
                if not answer.ended_by_shutdown:
                    raise
                raise restarting() from None

    def _stream(self, frames: AsyncGenerator[Sequence[JsonObject], None], end: StreamEnd) -> EventStream:
        # A kept response has its own time limit, as a turn.
        seconds = None if end is no_end else self._time_limit_seconds
        return EventStream(frames, self._answers, end, time_limit_seconds=seconds)


def _streams(body: JsonObject) -> bool:
    streams = body.get("stream", False)
    if streams is not None and not isinstance(streams, bool):
        raise ApiError(400, "stream must be true or false.", param="stream", code="invalid_type")
    return bool(streams)


def _json(content: JsonObject) -> Response:
    return Response(json_bytes(content), media_type="application/json", headers={"Cache-Control": "no-store"})
