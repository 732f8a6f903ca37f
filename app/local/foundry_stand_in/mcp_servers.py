"""MCP servers that an agent uses, called by the service. To be imported when one is: `mcp` takes a second."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent, Tool

from app.local.foundry_stand_in.refusals import FailedToolCallError, Json
from app.local.foundry_stand_in.script import OfferedTool
from app.local.foundry_stand_in.tool_definitions import schema_fault

_CONNECT_SECONDS = 10.0


class McpServer:
    """`tools` are those that the definition allows. Each call has a connection of its own."""

    def __init__(self, definition: Json, headers: Mapping[str, str]) -> None:
        self.label = str(definition["server_label"])
        self._definition = definition
        self._url = str(definition["server_url"])
        self._headers = headers
        self._status: int | None = None
        self.tools: dict[str, Tool] = {}

    async def list_tools(self) -> None:
        """Raises `FailedToolCallError`, also for a schema that the service refuses."""
        try:
            async with self._connected() as client:
                listed = (await client.list_tools()).tools
        except Exception as error:
            refused = self._status and f"Response status code does not indicate success: {self._status}."
            raise FailedToolCallError(
                f"Error encountered while enumerating tools from remote server: {self._url}. "
                f"Details: {refused or type(error).__name__}"
            ) from error
        allowed = self._definition.get("allowed_tools")
        names = allowed.get("tool_names") if isinstance(allowed, dict) else allowed
        self.tools = {tool.name: tool for tool in listed if names is None or tool.name in names}
        for name, tool in self.tools.items():
            if fault := schema_fault(tool.input_schema):
                raise FailedToolCallError(f"Invalid tool schema for: {name}. {fault}")

    async def call(self, name: str, arguments: Json) -> tuple[str | None, str | None]:
        """The output and the error, of which one is None."""
        try:
            async with self._connected() as client:
                result = await client.call_tool(name, arguments)
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"
        text = "\n".join(part.text for part in result.content if isinstance(part, TextContent))
        return (None, text) if result.is_error else (text, None)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        timeout = httpx2.Timeout(_CONNECT_SECONDS, read=None)
        hooks = {"response": [self._received]}
        async with (
            httpx2.AsyncClient(headers=dict(self._headers), timeout=timeout, event_hooks=hooks) as http,
            Client(streamable_http_client(self._url, http_client=http)) as client,
        ):
            yield client

    async def _received(self, response: httpx2.Response) -> None:
        if response.request.method == "POST":
            self._status = response.status_code if response.status_code >= 400 else None

    def offered(self) -> list[OfferedTool]:
        return [OfferedTool(name, tool.input_schema, {}) for name, tool in self.tools.items()]

    def needs_approval(self, name: str) -> bool:
        """As the service has it: also where the definition says nothing about it."""
        required = self._definition.get("require_approval") or "always"
        if isinstance(required, str):
            return required != "never"
        return name not in (required.get("never") or {}).get("tool_names", ())

    def list_item(self) -> Json:
        tools = [
            {"name": name, "description": tool.description or "", "input_schema": tool.input_schema}
            for name, tool in self.tools.items()
        ]
        item_id = f"mcpl_{secrets.token_hex(24)}"
        return {"type": "mcp_list_tools", "id": item_id, "server_label": self.label, "tools": tools}
