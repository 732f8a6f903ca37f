"""The Bot Framework's connector API on loopback: it receives what the bot sends, as Teams does.

https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

from aiohttp import web

from app.local.lifetime import LOOPBACK, listen, port_of

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConnectorCall:
    """One call of the bot. `at` is when it came, in seconds of the server's clock; `activity_id` is the path's;
    `status` is what it is answered with.
    """

    number: int
    at: float
    method: str
    conversation_id: str
    activity_id: str | None
    activity: JsonObject
    headers: Mapping[str, str]
    status: int = 0

    @property
    def text(self) -> str:
        return str(self.activity.get("text") or "")

    @property
    def stream(self) -> JsonObject | None:
        """The streaming protocol's entity: https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux"""
        entities = self.activity.get("entities") or ()
        return next((entity for entity in entities if entity.get("type") == "streaminfo"), None)

    @property
    def is_message(self) -> bool:
        """A whole message, the last one of a stream included; not an update on the way to one, nor an edit."""
        return self.method == "POST" and self.activity.get("type") == "message"


@dataclass(frozen=True, slots=True)
class ConnectorResponse:
    """The bot waits `after` seconds for it."""

    status: int = 200
    body: JsonObject = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    after: float = 0.0

    @classmethod
    def error(cls, status: int, code: str, message: str, **headers: str) -> ConnectorResponse:
        return cls(status, {"error": {"code": code, "message": message}}, headers)


class ConnectorServer:
    """Records every call. Responds as Teams does, unless `script` or `rule` says otherwise.

    `rule` is called where no scripted response is left; None leaves the response to the server. `members` are those of
    every conversation.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.calls: list[ConnectorCall] = []
        self.members: list[JsonObject] = []
        self.rule: Callable[[ConnectorCall], ConnectorResponse | None] | None = None
        self.service_url = ""
        self._clock = clock
        self._scripted: deque[ConnectorResponse | None] = deque()
        self._ids = itertools.count(1)
        self._arrived = asyncio.Condition()
        self._returned = 0

    async def __aenter__(self) -> ConnectorServer:
        application = web.Application(client_max_size=1024 * 1024)
        conversation = "/v3/conversations/{conversation}/activities"
        application.router.add_post(conversation, self._handle)
        application.router.add_route("*", conversation + "/{activity}", self._handle)
        application.router.add_get("/v3/conversations/{conversation}/members/{member}", self._member)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        listener = listen(0)
        await web.SockSite(self._runner, listener).start()
        self.service_url = f"http://{LOOPBACK}:{port_of(listener)}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def script(self, *responses: ConnectorResponse | None) -> None:
        """Responses for the next calls, in their order; None is the usual response."""
        self._scripted.extend(responses)

    async def next_call(self, timeout: float | None = 10.0) -> ConnectorCall:
        """The first call that `next_call` and `next_message` have not returned yet. Raises TimeoutError."""
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) > self._returned)
            self._returned += 1
            return self.calls[self._returned - 1]

    async def next_message(self, timeout: float = 10.0) -> ConnectorCall:
        """As `next_call`, without typing indicators, updates of a stream and edits."""
        async with asyncio.timeout(timeout):
            while True:
                call = await self.next_call(timeout)
                if call.is_message:
                    return call

    async def _handle(self, request: web.Request) -> web.Response:
        if request.method not in {"POST", "PUT", "DELETE"}:
            return web.Response(status=405)
        at = self._clock()
        try:
            activity = json.loads(await request.read() or b"{}")
        except ValueError:
            return _web_response(ConnectorResponse.error(400, "BadSyntax", "The body is not JSON."))
        path = request.match_info
        call = ConnectorCall(
            len(self.calls) + 1,
            at,
            request.method,
            path["conversation"],
            path.get("activity"),
            activity,
            dict(request.headers),
        )
        response = self._respond(call)
        call = replace(call, status=response.status)
        async with self._arrived:
            self.calls.append(call)
            self._arrived.notify_all()
        await asyncio.sleep(response.after)
        return _web_response(response)

    async def _member(self, request: web.Request) -> web.Response:
        """https://learn.microsoft.com/microsoftteams/platform/bots/how-to/get-teams-context"""
        wanted = request.match_info["member"]
        # A thread has none: https://github.com/microsoft/botframework-sdk/issues/3062
        is_thread = ";messageid=" in request.match_info["conversation"]
        for member in () if is_thread else self.members:
            if wanted in (member.get("id"), member.get("aadObjectId")):
                return web.json_response(member)
        return _web_response(ConnectorResponse.error(404, "MemberNotFoundInConversation", "There is no such member."))

    def _respond(self, call: ConnectorCall) -> ConnectorResponse:
        scripted = self._scripted.popleft() if self._scripted else None
        response = scripted or (self.rule(call) if self.rule else None)
        if response:
            return response
        if call.method == "POST":
            in_stream = call.stream is not None and "streamId" in call.stream
            return (
                ConnectorResponse(202) if in_stream else ConnectorResponse(201, {"id": f"activity-{next(self._ids)}"})
            )
        return ConnectorResponse(200, {"id": call.activity_id})


def _web_response(response: ConnectorResponse) -> web.Response:
    return web.json_response(response.body, status=response.status, headers=response.headers)
