"""MLflow's REST for the assessments of traces, versions 3.0 and 4.0, and Genie's ratings of messages, over HTTP."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from aiohttp import web

from tests.fakes.fake_service import FakeService

Json = dict[str, Any]

Disturbance = Literal["answer lost", "request lost"] | int
"""Of one request: done without an answer, not done and without one, or refused with this status."""


class MlflowTraces(FakeService):
    """`assessments` by the id of their trace. `disturbances` befall the next writes, one each."""

    def __init__(self, *trace_ids: str) -> None:
        self.assessments: dict[str, dict[str, Json]] = {each: {} for each in trace_ids}
        self.genie: dict[str, Json] = {}
        self.asked: list[tuple[str, str]] = []
        self.warehouses: set[str] = set()
        self.disturbances: deque[Disturbance] = deque()
        self.before_answer: Callable[[], Awaitable[None]] | None = None
        app = web.Application()
        for path, version in (
            ("/api/3.0/mlflow/traces/{trace}", 3),
            ("/api/4.0/mlflow/traces/{location}/{trace}", 4),
        ):
            info = path if version == 3 else f"{path}/info"
            app.router.add_get(info, self._info)
            app.router.add_post(f"{path}/assessments", self._write)
            app.router.add_route("PATCH", f"{path}/assessments/{{assessment}}", self._write)
            app.router.add_delete(f"{path}/assessments/{{assessment}}", self._write)
        genie = "/api/2.0/genie/spaces/{space}/conversations/{conversation}/messages/{message}/feedback"
        app.router.add_post(genie, self._write)
        super().__init__(app)

    @property
    def kept(self) -> list[Json]:
        return [each for of_trace in self.assessments.values() for each in of_trace.values()]

    async def _info(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path))
        trace = _trace_of(request)
        if trace not in self.assessments:
            return _refused(404)
        assessments = list(self.assessments[trace].values())
        return web.json_response({"trace": {"trace_info": {"trace_id": trace, "assessments": assessments}}})

    async def _write(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        if "location" in request.match_info:
            self.warehouses.add(request.query.get("sql_warehouse_id", ""))
        disturbance = self.disturbances.popleft() if self.disturbances else None
        if isinstance(disturbance, int):
            return _refused(disturbance)
        body = await request.json() if request.can_read_body else {}
        assert request.transport is not None
        if disturbance == "request lost":
            request.transport.abort()
            return web.Response()
        answer = self._done(request, body)
        if self.before_answer is not None:
            await self.before_answer()
        if disturbance == "answer lost":
            request.transport.abort()
        return answer

    def _done(self, request: web.Request, body: Json) -> web.Response:
        if "space" in request.match_info:
            self.genie[request.match_info["message"]] = body
            return web.json_response({})
        trace, id = _trace_of(request), request.match_info.get("assessment") or f"a-{uuid.uuid4().hex}"
        of_trace = self.assessments.get(trace)
        if of_trace is None or (request.method != "POST" and id not in of_trace):
            return _refused(404)
        if request.method == "DELETE":
            del of_trace[id]
            return web.json_response({})
        in_unity_catalog = "location" in request.match_info
        told = body if in_unity_catalog else body["assessment"]
        if request.method == "POST":
            of_trace[id] = {**told, "assessment_id": id}
        else:
            mask = request.query["update_mask"] if in_unity_catalog else body["update_mask"]
            of_trace[id] |= {field: told[field] for field in mask.split(",")}
        return web.json_response(of_trace[id] if in_unity_catalog else {"assessment": of_trace[id]})


def _trace_of(request: web.Request) -> str:
    location, trace = request.match_info.get("location"), request.match_info["trace"]
    return f"trace:/{location}/{trace}" if location else trace


def _refused(status: int) -> web.Response:
    return web.json_response({"error_code": "NO", "message": "no"}, status=status)
