"""The agent that this server serves. Change it, or write your own file: docs/agent-server.md."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from agent_server.databricks_agent import ask_agent
from agent_server.mlflow_config import setup_mlflow
from agent_server.server import create_server, stream


@stream()
async def answer(request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    async for event in ask_agent(request):
        yield event


def main() -> None:
    create_server("agent/v1/responses", databricks_agent=True)
    setup_mlflow()
