"""`/api/health` for anybody, `/api/health/dependencies` for those who hold the function key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any

from app.health.dependency_checks import DependencyChecks
from app.http import HttpAnswer
from app.version import VERSION, read_build

ALLOWED = ("GET", "HEAD")
_DEPENDENCIES = ("model", "storage", "queue", "tools", "foundry", "telemetry")
_NOT_ASKED = {"state": "not asked", "seconds": 0.0}


class Health:
    """`problems` are those of the settings, by name; `dependencies` is None where the settings are invalid.

    `on_request` is called at every request.
    """

    def __init__(
        self,
        dependencies: DependencyChecks | None,
        problems: Sequence[str] = (),
        *,
        read_build: Callable[[], str] = read_build,
        on_request: Callable[[], None] = lambda: None,
    ) -> None:
        self._dependencies = dependencies
        self._problems = tuple(problems)
        self._read_build = read_build
        self._on_request = on_request

    def answer(self, method: str) -> HttpAnswer:
        """For anybody: it names no resource and holds no value, and no other machine is asked."""
        if method.upper() not in ALLOWED:
            return _not_allowed()
        self._on_request()
        return self._answer({}, healthy=not self._problems)

    async def answer_with_dependencies(self, method: str) -> HttpAnswer:
        """For operators: which settings are wrong, and whether model and storage answer."""
        if method.upper() not in ALLOWED:
            return _not_allowed()
        self._on_request()
        if self._dependencies is None:
            content = {"problems": list(self._problems), **dict.fromkeys(_DEPENDENCIES, _NOT_ASKED)}
            return self._answer(content, healthy=False)
        results = await self._dependencies.check()
        content = {name: {"state": result.state, "seconds": result.seconds} for name, result in results.items()}
        return self._answer(content, healthy=all(result.healthy for result in results.values()))

    async def close(self) -> None:
        if self._dependencies is not None:
            await self._dependencies.close()

    def _answer(self, content: Mapping[str, Any], *, healthy: bool) -> HttpAnswer:
        return HttpAnswer(
            HTTPStatus.OK if healthy else HTTPStatus.SERVICE_UNAVAILABLE,
            json.dumps({"status": "healthy" if healthy else "unhealthy", **self._status, **content}),
            "application/json",
            {"Cache-Control": "no-store"},
        )

    @cached_property
    def _status(self) -> Mapping[str, str]:
        settings = "invalid" if self._problems else "valid"
        return {"version": VERSION, "build": self._read_build(), "settings": settings}


def _not_allowed() -> HttpAnswer:
    return HttpAnswer(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "Ask for health with GET.",
        headers={"Allow": ", ".join(ALLOWED), "Cache-Control": "no-store"},
    )
