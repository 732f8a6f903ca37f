"""What a project has for agents of either API: its deployments of models, and its connections.

https://learn.microsoft.com/azure/foundry/reference/foundry-project: neither needs azure-ai-projects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from azure.core.rest import AsyncHttpResponse, HttpRequest

from app.common.net import path_segment
from app.foundry.agents.foundry_calls import FoundryCalls, Repeat

_Result = TypeVar("_Result")

_API_VERSION = {"api-version": "v1"}
_MAX_PAGES = 200


@dataclass(frozen=True, slots=True)
class Deployment:
    name: str
    model: str
    model_version: str


class ProjectResources:
    """Raises `FoundryError`. `send` sends a request as a client of the project does."""

    def __init__(
        self, endpoint: str, send: Callable[[HttpRequest], Awaitable[AsyncHttpResponse]], calls: FoundryCalls
    ) -> None:
        self._endpoint = endpoint
        self._send = send
        self._calls = calls

    async def deployment(self, name: str) -> Deployment:
        def read(body: Mapping[str, Any]) -> Deployment:
            return Deployment(name, str(body.get("modelName") or ""), str(body.get("modelVersion") or ""))

        path = f"deployments/{path_segment(name)}"
        return await self._read(f"read the deployment {name}", path, _API_VERSION, read)

    async def connections(self) -> Mapping[str, str]:
        """The kind of each, by name."""

        def read(body: Mapping[str, Any]) -> tuple[dict[str, str], str]:
            listed = [each for each in body.get("value") or () if isinstance(each, Mapping)]
            return {str(each.get("name")): str(each.get("type")) for each in listed}, str(body.get("nextLink") or "")

        found: dict[str, str] = {}
        query = _API_VERSION
        for _ in range(_MAX_PAGES):
            page, link = await self._read("list the project's connections", "connections", query, read)
            found |= page
            # Of the link only what it asks for: the token goes nowhere else.
            following = dict(parse_qsl(urlsplit(link).query)) | _API_VERSION
            if not link or following == query:
                break
            query = following
        return found

    async def _read(
        self, what: str, path: str, query: Mapping[str, str], read: Callable[[Mapping[str, Any]], _Result]
    ) -> _Result:
        async def attempt() -> _Result:
            response = await self._send(HttpRequest("GET", f"{self._endpoint}/{path}", params=query))
            response.raise_for_status()
            return read(response.json())

        return await self._calls.make(what, attempt, Repeat.ALWAYS)
