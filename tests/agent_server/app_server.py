"""The whole server of one handler, as it runs inside an app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from agent_server.composition.host import build_services
from agent_server.handlers.registry import agent
from agent_server.http.server_services import ServerServices
from agent_server.server import create_server
from tests.agent_server.http.serving import in_process


@asynccontextmanager
async def app_server(
    handler: Callable[..., Any], environment: Mapping[str, str], *, databricks_agent: bool = False
) -> AsyncIterator[tuple[ServerServices, httpx.AsyncClient]]:
    agent.clear()
    agent.stream_method(handler)
    try:
        services = build_services(create_server("agent/v1/responses", databricks_agent=databricks_agent), environment)
        await services.start()
        try:
            async with in_process(services) as http:
                yield services, http
        finally:
            await services.hand_over()
            await services.close()
    finally:
        agent.clear()
