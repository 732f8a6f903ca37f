"""Every capability that brings tools to the agent."""

from __future__ import annotations

from dataclasses import dataclass

from app.config import CoreSettings
from app.databricks.workspace_client import WorkspaceClient
from app.mcp_tools.provider import McpTools
from app.specialists.specialists import Specialists
from app.storage.factory import Storage
from app.tools.clock import ClockTools
from app.tools.registry import ToolProvider


@dataclass(frozen=True, slots=True)
class ToolServices:
    """What a capability can be built from."""

    settings: CoreSettings
    workspace: WorkspaceClient
    storage: Storage


def tool_providers(services: ToolServices) -> list[ToolProvider]:
    """None of them is slow to make: each imports what is heavy when it is first asked for its tools."""
    settings = services.settings
    if not settings.agent.offers_tools:
        return []
    providers: list[ToolProvider] = [ClockTools()]
    if settings.specialists.specialists:
        providers.append(Specialists(settings.specialists, services.workspace))
    if settings.mcp.servers:
        providers.append(McpTools(settings.mcp, services.workspace))
    return providers
