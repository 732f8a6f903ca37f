"""For those who run the server: whether it lives, whether it can answer, what it counts, and what it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter
from starlette.responses import Response

from agent_server.handlers.handler import JsonObject
from agent_server.http.answer_routes import PREFIXES
from agent_server.http.json_encoding import json_bytes
from agent_server.http.metrics import CONTENT_TYPE, Metrics
from agent_server.http.open_answers import OpenAnswers
from agent_server.http.server_services import ReadinessCheck, ServerServices
from agent_server.protocol.task import Task
from agent_server.protocol.task_schemas import task_schemas

_log = logging.getLogger(__name__)

_CHECK_SECONDS = 5.0
_NO_STORE = {"Cache-Control": "no-store"}
_API_NAMES = {Task.RESPONSES: "responses", Task.CHAT: "chat/completions", Task.CHAT_AGENT: "chat_agent"}


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    works: bool


def operations_routes(services: ServerServices, answers: OpenAnswers, metrics: Metrics) -> APIRouter:
    router = APIRouter()
    info = services.info
    readiness = _Readiness(services.readiness)

    async def health() -> Response:
        """Whether the process lives: nothing else is asked."""
        return _json({"status": "healthy", "version": info.version, "git_commit": info.git_commit})

    async def ready() -> Response:
        """Whether a request would be answered now."""
        checks = await readiness.checked()
        works = all(check.works for check in checks) and not answers.is_stopping
        content = {
            "status": "stopping" if answers.is_stopping else "ready" if works else "not ready",
            "checks": {check.name: "ok" if check.works else "failed" for check in checks},
        }
        return _json(content, 200 if works else 503)

    async def read_metrics() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})

    async def read_info() -> Response:
        """The names that MLflow's own server has, and more."""
        return _json(agent_card(services))

    async def models() -> Response:
        """For chat programs, which ask for this list first."""
        model = {"id": info.name, "object": "model", "created": 0, "owned_by": "agent-server"}
        return _json({"object": "list", "data": [model]})

    for prefix in PREFIXES:
        router.add_api_route(f"{prefix}/models", models, name="models")
    for prefix in ("", "/api"):
        router.add_api_route(f"{prefix}/health", health, methods=["GET", "HEAD"], name="health")
        router.add_api_route(f"{prefix}/ready", ready, methods=["GET", "HEAD"], name="ready")
        router.add_api_route(f"{prefix}/metrics", read_metrics, name="metrics")
        router.add_api_route(f"{prefix}/agent/info", read_info, name="info")
    return router


def agent_card(services: ServerServices) -> JsonObject:
    info = services.info
    task = services.server.task
    request_schema, response_schema = task_schemas(task)
    return {
        "name": info.name,
        "use_case": "agent",
        "description": info.description,
        "version": info.version,
        "git_commit": info.git_commit,
        "mlflow_version": _mlflow_version(),
        "task": task.value or None,
        "agent_api": _API_NAMES.get(task),
        "endpoints": ["/invocations", "/responses", "/chat/completions", "/mcp"],
        "storage": info.storage,
        "request_schema": request_schema,
        "response_schema": response_schema,
    }


def _mlflow_version() -> str | None:
    try:
        return version("mlflow")
    except PackageNotFoundError:
        return None


class _Readiness:
    """Whoever asks while others ask shares what they find out: Databricks is asked by one at a time."""

    def __init__(self, checks: Mapping[str, ReadinessCheck]) -> None:
        self._checks = checks
        self._checking = asyncio.Lock()
        self._found: list[_Check] = []
        self._count = 0

    async def checked(self) -> list[_Check]:
        """Found out after this was called, at least in part."""
        count = self._count
        async with self._checking:
            if self._count == count:
                self._found = list(await asyncio.gather(*(_check(*each) for each in self._checks.items())))
                self._count += 1
            return self._found


async def _check(name: str, check: ReadinessCheck) -> _Check:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except Exception as error:
        _log.warning("Not ready: %s failed (%s)", name, type(error).__name__)
        return _Check(name, works=False)
    return _Check(name, works=True)


def _json(content: JsonObject, status: int = 200) -> Response:
    return Response(json_bytes(content), status, _NO_STORE, "application/json")
