"""The tools of every configured MCP server. One that does not answer takes nothing from the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.common.caller import Caller
from app.databricks.workspace_client import WorkspaceClient
from app.mcp_tools.authorization import authorization_for
from app.mcp_tools.server_tools import McpServerTools
from app.settings.mcp_settings import McpSettings
from app.tools.base import AnyTool, UnavailableTools

# Less than a turn waits for all of a provider's tools.
_LISTING_SECONDS = 4.0


class McpTools:
    def __init__(self, settings: McpSettings, workspace: WorkspaceClient) -> None:
        self._servers = [
            McpServerTools(server, authorization_for(server.url, workspace, settings.secret_of(server)))
            for server in settings.servers
        ]

    async def tools(self, caller: Caller) -> Sequence[AnyTool | UnavailableTools]:
        listings = [task for server in self._servers if (task := server.listing()) is not None and not server.tools]
        if listings:
            await asyncio.wait(listings, timeout=_LISTING_SECONDS)
        tools: list[AnyTool | UnavailableTools] = []
        for server in self._servers:
            tools += server.tools
            if server.reason is not None:
                tools.append(UnavailableTools(server.name, server.reason))
        return tools

    async def close(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers))
