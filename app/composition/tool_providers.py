"""Every capability that brings tools to the agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from app.config import CoreSettings
from app.databricks.workspace_client import WorkspaceClient
from app.storage.conversations import ConversationKey
from app.storage.factory import Storage, open_remote_queue
from app.storage.remote_queue import RemoteQueue
from app.storage.storage_account import StorageAccount
from app.storage.storage_credential import StorageCredential
from app.tools.attached_files import FILES
from app.tools.clock import ClockTools
from app.tools.registry import ToolProvider

if TYPE_CHECKING:
    from app.data.rerun import QueryRunner
    from app.data.stored_results import StoredResults


@runtime_checkable
class ConversationTools(Protocol):
    """A provider that keeps something of a conversation."""

    async def forget(self, conversation: ConversationKey, *, threads: bool = False) -> None:
        """Deletes it, with `threads` that of a channel's threads too. Raises `StorageError`."""
        ...


@runtime_checkable
class SweptTools(Protocol):
    """A provider with something to clean up now and then."""

    async def sweep(self) -> None: ...


@runtime_checkable
class RemoteTools(Protocol):
    """A provider whose tools need something that does not belong to this app."""

    async def check(self) -> None:
        """Raises where it does not answer."""
        ...


@dataclass(frozen=True, slots=True)
class ToolServices:
    """What a capability can be built from."""

    settings: CoreSettings
    workspace: WorkspaceClient
    storage: Storage
    storage_credential: StorageCredential
    results: Callable[[], StoredResults]
    files: QueryRunner


def tool_providers(services: ToolServices) -> list[ToolProvider]:
    """None of them is slow to make: each imports what is heavy when it is first asked for its tools, and is itself
    imported only where a setting asks for it.
    """
    settings = services.settings
    if not settings.agent.offers_tools:
        return []
    providers: list[ToolProvider] = [ClockTools()]
    if has_data_tools(settings):
        providers += _data_tools(services)
    if settings.specialists.specialists:
        from app.specialists.specialists import Specialists  # noqa: PLC0415

        providers.append(Specialists(settings.specialists, services.workspace))
    if settings.function_tools.tools:
        providers.append(_function_tools(services))
    if settings.mcp.servers:
        from app.mcp_tools.provider import McpTools  # noqa: PLC0415

        providers.append(McpTools(settings.mcp, services.workspace))
    return providers


def _function_tools(services: ToolServices) -> ToolProvider:
    from app.function_tools.function_tools import FunctionTools  # noqa: PLC0415

    account = StorageAccount(services.settings.storage.connection_string)

    def open_queue(endpoint: str, name: str) -> RemoteQueue:
        return open_remote_queue(endpoint, name, account, services.storage_credential)

    return FunctionTools(services.settings.function_tools, services.storage.documents, open_queue)


def has_data_tools(settings: CoreSettings) -> bool:
    return bool(settings.genie.spaces or settings.sql.warehouse_id)


def _data_tools(services: ToolServices) -> list[ToolProvider]:
    from app.data.result_tools import ResultTools  # noqa: PLC0415

    settings, workspace, storage = services.settings, services.workspace, services.storage
    results = services.results()
    providers: list[ToolProvider] = []
    runners: dict[str, QueryRunner] = {FILES: services.files}
    sql_capability = ""
    if settings.sql.warehouse_id:
        from app.sql.provider import CAPABILITY as SQL  # noqa: PLC0415
        from app.sql.provider import SqlTools  # noqa: PLC0415

        sql = SqlTools(settings.sql, workspace, results)
        providers.append(sql)
        runners[SQL] = sql
        sql_capability = SQL
    if settings.genie.spaces:
        from app.genie.genie_results import CAPABILITY as GENIE  # noqa: PLC0415
        from app.genie.provider import GenieTools  # noqa: PLC0415

        genie = GenieTools(settings.genie, workspace, storage.documents, results, sql_capability=sql_capability)
        providers.insert(0, genie)
        runners[GENIE] = genie.reruns
    return [*providers, ResultTools(results, workspace, runners)]
