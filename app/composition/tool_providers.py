"""Every capability that brings tools to the agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from app.config import CoreSettings
from app.databricks.workspace_client import WorkspaceClient
from app.storage.conversations import ConversationKey
from app.storage.factory import Storage
from app.tools.clock import ClockTools
from app.tools.registry import ToolProvider


@runtime_checkable
class ConversationTools(Protocol):
    """A provider that keeps something of a conversation."""

    async def forget(self, conversation: ConversationKey) -> None:
        """Deletes it. Raises `StorageError`."""
        ...


@dataclass(frozen=True, slots=True)
class ToolServices:
    """What a capability can be built from."""

    settings: CoreSettings
    workspace: WorkspaceClient
    storage: Storage


def tool_providers(services: ToolServices) -> list[ToolProvider]:
    """None of them is slow to make: each imports what is heavy when it is first asked for its tools, and is itself
    imported only where a setting asks for it.
    """
    settings = services.settings
    if not settings.agent.offers_tools:
        return []
    providers: list[ToolProvider] = [ClockTools()]
    if settings.genie.spaces:
        from app.genie.provider import GenieTools  # noqa: PLC0415

        storage = services.storage
        providers.append(GenieTools(settings.genie, services.workspace, storage.documents, storage.artifacts))
    if settings.specialists.specialists:
        from app.specialists.specialists import Specialists  # noqa: PLC0415

        providers.append(Specialists(settings.specialists, services.workspace))
    if settings.sql.warehouse_id:
        from app.sql.provider import SqlTools  # noqa: PLC0415

        providers.append(SqlTools(settings.sql, services.workspace, services.storage.artifacts))
    if settings.mcp.servers:
        from app.mcp_tools.provider import McpTools  # noqa: PLC0415

        providers.append(McpTools(settings.mcp, services.workspace))
    if settings.genie.spaces or settings.sql.warehouse_id:
        from app.data.redraw import RedrawTools  # noqa: PLC0415

        providers.append(RedrawTools(services.storage.artifacts))
    return providers
