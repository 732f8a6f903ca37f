"""What is listed and called over MCP. Imported with the first request.

Results are text alone: some clients drop it where there is structured content too
(https://github.com/anthropics/claude-code/issues/79944).
"""

from __future__ import annotations

from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams
from starlette.requests import Request

from app.foundry.mcp.tool_calls import ToolCalls
from app.mcp_server.tools import listed_tool, object_schema, text_result
from app.mcp_server.tools_only_server import tools_only_server
from app.version import VERSION

GET_RESULT = "get_result"
_ABOUT_RESULT = "Returns the answer of a call that was not ready in time, by its handle; waits for it for a while."
_HANDLE = {"type": "string", "description": "The handle that the tool has returned."}
_Context = ServerRequestContext[Any, Any]


def tool_server(calls: ToolCalls) -> Server[Any]:
    served = _ServedTools(calls)
    return tools_only_server("databricks-agent", VERSION, served.list, served.call)


class _ServedTools:
    def __init__(self, calls: ToolCalls) -> None:
        self._calls = calls

    async def list(self, _: _Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        tools = [
            listed_tool(tool.name, "", tool.description, tool.parameters, open_world=False)
            for tool in self._calls.tools
        ]
        result_schema = object_schema({"handle": _HANDLE}, ["handle"])
        return ListToolsResult(
            tools=[*tools, listed_tool(GET_RESULT, "", _ABOUT_RESULT, result_schema, open_world=False)]
        )

    async def call(self, context: _Context, params: CallToolRequestParams) -> CallToolResult:
        arguments = params.arguments or {}
        if params.name == GET_RESULT:
            result = await self._calls.result_of(str(arguments.get("handle") or ""))
        else:
            request = context.request
            traceparent = request.headers.get("traceparent") if isinstance(request, Request) else None
            result = await self._calls.call(params.name, arguments, traceparent)
        return text_result(result.text, failed=result.failed)
