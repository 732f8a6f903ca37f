"""The whole server of an agent that people wrote, as it runs inside an app, on a store in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from agent_server.composition.host import build_services
from agent_server.handlers.registry import agent
from agent_server.http.server_services import ServerServices
from agent_server.server import create_server
from tests.agent_server.http.serving import in_process


class Echo:
    """Says what it is asked; while it `holds`, not to the end."""

    def __init__(self) -> None:
        self.holds = False
        self.go_on = asyncio.Event()

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        question = request["input"][-1]["content"]
        yield {"type": "response.output_text.delta", "item_id": "m", "delta": f"You said: {question}"}
        if self.holds:
            await self.go_on.wait()


@dataclass
class WholeServer:
    services: ServerServices
    echo: Echo
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
        return str((await self.send(owner, "POST", "/api/conversations", {"title": title})).json()["id"])

    async def ask(self, owner: str, question: str, **body: Any) -> str:
        """The id of a response in the background."""
        answer = await self.send(owner, "POST", "/api/responses", {"input": question, "background": True, **body})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def ended(self, owner: str, id: str) -> Any:
        """Follows it to its end."""
        async with asyncio.timeout(20):
            await self.send(owner, "GET", f"/api/responses/{id}?stream=true")
        return await self.read(owner, f"/api/responses/{id}")


@asynccontextmanager
async def whole_server(folder: Path, **environment: str) -> AsyncIterator[WholeServer]:
    echo = Echo()
    agent.clear()
    agent.stream_method(echo.stream)
    try:
        given = {"DATABRICKS_APP_NAME": "an-app", "DATA_DIR": str(folder), **environment}
        services = build_services(create_server("agent/v1/responses"), given)
        await services.start()
        try:
            async with in_process(services) as http:
                yield WholeServer(services, echo, http)
        finally:
            echo.go_on.set()
            await services.hand_over()
            await services.close()
    finally:
        agent.clear()
