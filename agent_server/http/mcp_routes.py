"""`/mcp`: the same agent for MCP clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from agent_server.handlers.direct import answer_direct
from agent_server.handlers.handler import JsonObject
from agent_server.http.answering import Answering
from agent_server.http.open_answers import OpenAnswers, restarting, took_too_long
from agent_server.http.request_body import read_body
from agent_server.http.server_services import ServerServices
from agent_server.identity.server_caller import ServerCaller
from agent_server.mcp.mcp_services import AskAnswer, McpServices, text_of
from agent_server.mcp.served_tools import Progress, ServedResult, ServedTool, ServedTools
from agent_server.protocol.responses_request import parse_responses_request
from app.mcp_server.mcp_endpoint import McpEndpoint

if TYPE_CHECKING:
    from mcp.server.lowlevel.server import Server

_WAIT_SECONDS = 85.0
"""Callers cut a call after 100 s (Azure AI Foundry) to 120 s (the proxy of Databricks Apps)."""


def mcp_endpoint(services: ServerServices, answers: OpenAnswers) -> McpEndpoint:
    answering = Answering(services, answers)
    served = McpServices(
        services.info.name,
        services.info.version,
        services.info.description,
        _AskedAgent(services, answering, answers),
        lambda request: answering.context(request).caller,
        _CountedTools(services.tools, answers) if services.tools is not None else None,
    )

    def make_server() -> Server[Any]:
        from agent_server.mcp.mcp_server import mcp_server  # noqa: PLC0415

        return mcp_server(served)

    # The host and the origin have been checked for every route, with the proxy in mind.
    return McpEndpoint(make_server, max_body_bytes=services.settings.server.max_body_bytes)


def mcp_routes(endpoint: McpEndpoint, services: ServerServices, answers: OpenAnswers) -> list[BaseRoute]:
    app = _PostOnly(endpoint, Answering(services, answers))
    # Under /api tokens are documented to work. Neither address redirects to the other.
    return [Route(path, app) for path in ("/mcp", "/mcp/", "/api/mcp", "/api/mcp/")]


class _PostOnly:
    """There are no sessions to listen to, or to end. `name` is the route's in the log and in the metrics."""

    name = "mcp"

    def __init__(self, app: McpEndpoint, answering: Answering) -> None:
        self._app = app
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        if scope["method"] != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        # Who may not ask is told so by HTTP, as at every other address, and so is who sends half of a body, which `mcp`
        # would log as an error of ours.
        request = Request(scope, receive)
        self._answering.context(request)
        await self._app(scope, _replayed(await read_body(request), receive), send)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """`receive`, for who comes after the body has been read."""
    read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return read.pop() if read else await receive()

    return replayed


class _CountedTools:
    """A call of a tool is one of the answers that are made at the same time."""

    def __init__(self, tools: ServedTools, answers: OpenAnswers) -> None:
        self._tools = tools
        self._answers = answers

    async def tools(self, caller: ServerCaller) -> Sequence[ServedTool]:
        return await self._tools.tools(caller)

    async def call(
        self, name: str, arguments: Mapping[str, Any], caller: ServerCaller, progress: Progress
    ) -> ServedResult | None:
        self._answers.admit()
        with self._answers.opened() as answer:
            try:
                return await self._tools.call(name, arguments, caller, progress)
            except asyncio.CancelledError:
                if not answer.ended_by_shutdown:
                    raise
                raise restarting() from None


class _AskedAgent:
    def __init__(self, services: ServerServices, answering: Answering, answers: OpenAnswers) -> None:
        self.keeps_answers = services.responses is not None
        self._services = services
        self._answering = answering
        self._answers = answers

    async def ask(self, request: Request, question: str, previous_response_id: str) -> AskAnswer:
        self._answers.admit()
        context = self._answering.context(request)
        body: JsonObject = {"input": question}
        if not self.keeps_answers:
            asked = parse_responses_request(body)
            answer = answer_direct(self._services.handler, self._services.server.task, asked)
            seconds = self._services.settings.turns.timeout_seconds
            try:
                with self._answers.opened():
                    async with asyncio.timeout(seconds):
                        return text_of(await self._answering.invoke("mcp_ask", body, context, answer))
            except TimeoutError:
                raise took_too_long() from None
        body |= {"background": True}
        if previous_response_id:
            body["previous_response_id"] = previous_response_id
        stored = await self._answering.create(parse_responses_request(body), context)
        has_left = True
        try:
            response = await _ended_in_time(stored.finished())
            has_left = False
        finally:
            if has_left and not self._answers.is_stopping:
                await stored.cancel()
        return text_of(response or stored.response)

    async def get(self, request: Request, response_id: str) -> AskAnswer:
        caller = self._answering.context(request).caller
        responses = self._answering.responses
        await _ended_in_time(_last(await responses.follow(response_id, caller)))
        return text_of(await responses.get(response_id, caller))


async def _ended_in_time(end: Coroutine[Any, Any, JsonObject]) -> JsonObject | None:
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            return await end
    except TimeoutError:
        return None


async def _last(batches: AsyncGenerator[Sequence[JsonObject], None]) -> JsonObject:
    last: JsonObject = {}
    async with aclosing(batches):
        async for events in batches:
            last = events[-1]
    return last
