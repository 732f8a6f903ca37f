"""The whole server of an agent that people wrote, as it runs inside an app, on a store in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_server.http.server_services import ServerServices
from tests.agent_server.app_server import app_server
from tests.agent_server.page.persons_client import PersonsClient


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
class WholeServer(PersonsClient):
    services: ServerServices
    echo: Echo

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
    given = {"DATABRICKS_APP_NAME": "an-app", "DATA_DIR": str(folder), **environment}
    async with app_server(echo.stream, given) as (services, http):
        yield WholeServer(http, services, echo)
