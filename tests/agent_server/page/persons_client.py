"""Asks a server as the people whom Databricks vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx


@dataclass
class PersonsClient:
    http: httpx.AsyncClient

    async def send(self, owner: str, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        headers = {"X-Forwarded-User": owner, **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        return await self.http.request(method, path, headers=headers, **more)

    async def read(self, owner: str, path: str) -> Any:
        answer = await self.send(owner, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def begin(self, owner: str, title: str = "") -> str:
        """The id of a new conversation."""
        answer = await self.send(owner, "POST", "/api/conversations", {"title": title})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])
