"""An MCP server that has tools, and neither prompts nor resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
)

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
    """
    return Server(
        name,
        version=version,
        instructions=instructions,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=_no_prompts,
        on_list_resources=_no_resources,
        on_list_resource_templates=_no_resource_templates,
    )


async def _no_prompts(_: _Context, __: PaginatedRequestParams | None) -> ListPromptsResult:
    return ListPromptsResult(prompts=[])


async def _no_resources(_: _Context, __: PaginatedRequestParams | None) -> ListResourcesResult:
    return ListResourcesResult(resources=[])


async def _no_resource_templates(_: _Context, __: PaginatedRequestParams | None) -> ListResourceTemplatesResult:
    return ListResourceTemplatesResult(resource_templates=[])
