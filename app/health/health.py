"""`/api/health` for whoever asks, `/api/health/dependencies` for those who hold the function key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from typing import Any

from app.health.dependencies import Dependencies, Found
from app.http import HttpAnswer
from app.version import VERSION, read_build

ALLOWED = ("GET", "HEAD")
_DEPENDENCIES = ("model", "storage", "queue", "telemetry")
_NOT_ASKED = {"state": "not asked", "seconds": 0.0}


class Health:
    """`problems` are those of the settings, by name; `dependencies` is None where settings are too wrong to ask any.

    `told` is called whenever somebody has asked.
    """

    def __init__(
        self,
        dependencies: Dependencies | None,
        problems: Sequence[str] = (),
        *,
        build: Callable[[], str] = read_build,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._dependencies = dependencies
        self._problems = tuple(problems)
        self._read_build = build
        self._tell = told

    def answer(self, method: str) -> HttpAnswer:
        """For anybody: no name, no value, no question to another machine."""
        if method.upper() not in ALLOWED:
            return _not_allowed()
        self._tell()
        return _answer({}, well=not self._problems, status=self._status)

    async def answer_with_dependencies(self, method: str) -> HttpAnswer:
        """For operators: which settings are wrong, and whether model and storage answer."""
        if method.upper() not in ALLOWED:
            return _not_allowed()
        if self._dependencies is None:
            self._tell()
            content = {"problems": list(self._problems), **dict.fromkeys(_DEPENDENCIES, _NOT_ASKED)}
            return _answer(content, well=False, status=self._status)
        found = await self._dependencies.look()
        content = {name: _shown(each) for name, each in found.items()}
        return _answer(content, well=all(each.well for each in found.values()), status=self._status)

    async def close(self) -> None:
        if self._dependencies is not None:
            await self._dependencies.close()

    @cached_property
    def _status(self) -> Mapping[str, str]:
        settings = "invalid" if self._problems else "valid"
        return {"version": VERSION, "build": self._read_build(), "settings": settings}


def _answer(content: Mapping[str, Any], *, well: bool, status: Mapping[str, str]) -> HttpAnswer:
    return HttpAnswer(
        HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE,
        json.dumps({"status": "healthy" if well else "unhealthy", **status, **content}),
        "application/json",
        {"Cache-Control": "no-store"},
    )


def _shown(found: Found) -> dict[str, Any]:
    return {"state": found.state, "seconds": found.seconds}


def _not_allowed() -> HttpAnswer:
    return HttpAnswer(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "Ask for health with GET.",
        headers={"Allow": ", ".join(ALLOWED), "Cache-Control": "no-store"},
    )
