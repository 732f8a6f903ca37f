"""An MCP server that has tools, and neither prompts nor resources."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INTERNAL_ERROR,
    CallToolRequestParams,
    CallToolResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
)

from app.mcp_server.tools import text_result
from app.telemetry.spans import new_error_id

_log = logging.getLogger(__name__)

_Context = ServerRequestContext[Any, Any]


def tools_only_server(
    name: str,
    version: str,
    list_tools: Callable[[_Context, PaginatedRequestParams | None], Awaitable[ListToolsResult]],
    call_tool: Callable[[_Context, CallToolRequestParams], Awaitable[CallToolResult]],
    *,
    instructions: str | None = None,
) -> Server[Any]:
    """Prompts and resources are empty lists: some clients ask for them in any case, and drop a server that refuses
    (https://github.com/upstash/context7/issues/2527, https://github.com/DeusData/codebase-memory-mcp/pull/1015).
    Of an exception a client is told the error id alone: `mcp` would tell it what the exception says.
    """

    async def listed(context: _Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        try:
            return await list_tools(context, params)
        except Exception:
            raise MCPError(INTERNAL_ERROR, _unexpected("A list of tools")) from None

    async def called(context: _Context, params: CallToolRequestParams) -> CallToolResult:
        try:
            return await call_tool(context, params)
        except Exception:
            return text_result(_unexpected("A call"), failed=True)

    return Server(
        name,
        version=version,
        instructions=instructions,
        on_list_tools=listed,
        on_call_tool=called,
        on_list_prompts=_no_prompts,
        on_list_resources=_no_resources,
        on_list_resource_templates=_no_resource_templates,
    )


def _unexpected(what: str) -> str:
    """Of the exception that is being handled."""
    error_id = new_error_id()
    _log.exception("%s over MCP failed, error id %s", what, error_id)
    return f"Something unexpected went wrong. Try again. (error id {error_id})"


async def _no_prompts(_: _Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
    return ListPromptsResult(prompts=[])


async def _no_resources(_: _Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
    return ListResourcesResult(resources=[])


async def _no_resource_templates(_: _Context, __: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
    return ListResourceTemplatesResult(resource_templates=[])
