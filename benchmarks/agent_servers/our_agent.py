"""Ours: AGENT_SERVER_MODULE of `agent-server`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from agent_server.mlflow_config import setup_mlflow
from agent_server.server import create_server, stream
from benchmarks.agent_servers.hundred_deltas import hundred_deltas


@stream()
async def answer(request: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    async for event in hundred_deltas():
        yield event


def main() -> None:
    create_server("agent/v1/responses")
    setup_mlflow()
