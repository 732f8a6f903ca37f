"""The stand-in project as one web application, with what a test sets and looks at."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from app.local.foundry_stand_in.agent_run import AgentRuns
from app.local.foundry_stand_in.agents import Agents
from app.local.foundry_stand_in.classic_agents import ClassicAgents
from app.local.foundry_stand_in.classic_runs import ClassicRuns
from app.local.foundry_stand_in.clock import Clock
from app.local.foundry_stand_in.control import Control
from app.local.foundry_stand_in.conversations import Conversations
from app.local.foundry_stand_in.faults import Faults
from app.local.foundry_stand_in.function_queues import FunctionQueues, caller_traceparent
from app.local.foundry_stand_in.refusals import RefusedError
from app.local.foundry_stand_in.responses import Responses

PROJECT = "stand-in"
PROJECT_PATH = f"/api/projects/{PROJECT}"
DEPLOYMENTS: Mapping[str, str] = {"gpt-5.1": "gpt-5.1", "gpt-4.1": "gpt-4.1", "gpt-5.4": "gpt-5.4"}

_API_VERSIONS = {"v1"}
_OPENAI_API_VERSIONS = {None, "v1", "preview"}
_MAX_BODY_BYTES = 4 * 1024 * 1024


class FoundryStandIn:
    """`denied` are data actions that the caller lacks: "read", "write", "delete".

    The other attributes are what a test sets and looks at; each class says what is in it.
    """

    def __init__(self, connection_string: str | None = None, deployments: Mapping[str, str] = DEPLOYMENTS) -> None:
        self.clock = Clock()
        self.faults = Faults()
        self.agents = Agents(self.clock, deployments)
        self.conversations = Conversations(self.clock)
        self.queues = FunctionQueues(connection_string)
        self.runs = AgentRuns(self.clock, self.agents, self.queues)
        self.responses = Responses(self.clock, self.agents, self.conversations, self.runs)
        self.classic = ClassicAgents(self.clock, self.agents)
        self.classic_runs = ClassicRuns(self.clock, self.classic, self.queues, self.runs)
        self.denied: set[str] = set()

    def left(self) -> list[str]:
        """What was made and is still there: agents, conversations, threads, and the running responses and runs."""
        classic = [*self.classic.all, *self.classic.threads]
        return [*self.agents.versions, *self.conversations.all, *classic, *self.running()]

    def running(self) -> list[str]:
        responses = [record.id for record in self.responses.all.values() if record.run and not record.run.done()]
        return [*responses, *self.classic_runs.running()]

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._middleware()], client_max_size=_MAX_BODY_BYTES)
        application.router.add_routes(Control(self).routes())
        for part in (self.agents, self.conversations, self.responses, self.classic, self.classic_runs):
            application.router.add_routes(_below(PROJECT_PATH, part.routes()))
        application.cleanup_ctx.append(self._closing)
        return application

    async def _closing(self, _: web.Application) -> AsyncIterator[None]:
        yield
        await self.responses.close()
        await self.classic_runs.close()
        await self.queues.close()

    def _middleware(self) -> Any:  # noqa: ANN401 - aiohttp's type of a middleware
        @web.middleware
        async def middleware(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if request.path.startswith("/control/"):
                return await handler(request)
            try:
                self._check(request)
                caller_traceparent.set(request.headers.get("traceparent", ""))
                call = f"{request.method} {_route(request)}"
                return await self.faults.around(call, request, handler)
            except RefusedError as error:
                return error.response()
            except web.HTTPException as error:
                return RefusedError(error.status, "not_found", error.reason).response()

        return middleware

    def _check(self, request: web.Request) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            raise RefusedError(
                401,
                "Unauthorized",
                "Access denied: a bearer token for https://ai.azure.com is missing.",
            )
        version = request.query.get("api-version")
        if version not in (_OPENAI_API_VERSIONS if "/openai/" in request.path else _API_VERSIONS):
            raise RefusedError(400, "BadRequest", "API version not supported")
        action = {"GET": "read", "DELETE": "delete"}.get(request.method, "write")
        if action in self.denied:
            operation = f"{request.method} /api/projects/{{projectName}}{_route(request)}"
            raise RefusedError(
                401,
                "PermissionDenied",
                f"The principal `{secrets.token_hex(16)}` lacks the required data action "
                f"`Microsoft.CognitiveServices/accounts/AIServices/agents/{action}` to perform `{operation}` "
                "operation. For instructions on granting the necessary permissions, see "
                "https://aka.ms/FoundryPermissions.",
            )


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return (resource.canonical if resource else request.path).removeprefix(PROJECT_PATH)


def _below(prefix: str, routes: Sequence[web.RouteDef]) -> Sequence[web.RouteDef]:
    return [web.route(each.method, prefix + each.path, each.handler) for each in routes]
