"""One run of an agent: the script decides, tools are called, until there is an answer or the client has to act."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from app.local.foundry_stand_in.agents import Agents
from app.local.foundry_stand_in.clock import Clock
from app.local.foundry_stand_in.function_queues import FunctionQueues
from app.local.foundry_stand_in.refusals import FailedToolCallError, Json
from app.local.foundry_stand_in.response_record import (
    ResponseRecord,
    approval_request_item,
    azure_function_items,
    function_call_item,
    mcp_call_item,
    message_item,
    refusal_item,
)
from app.local.foundry_stand_in.script import ChosenCall, next_step
from app.local.foundry_stand_in.tool_definitions import offered_tools

if TYPE_CHECKING:
    from app.local.foundry_stand_in.mcp_servers import McpServer

MCP_CALL_SECONDS = 100.0
"""The service cuts calls of MCP servers then."""

_MAX_STEPS = 20


class AgentRuns:
    """`ends` are those of the next runs in turn, in place of what the script makes of them:

    "incomplete", "content_filter", "failed", "expired", "cancelled", "refusal", "empty", "approval", "consent",
    "no_tool" (the model answers by itself) and "stuck" (nothing happens until the run expires).

    `hides_tool_calls`: the output holds only the answer, as has been seen.
    """

    def __init__(self, clock: Clock, agents: Agents, queues: FunctionQueues) -> None:
        self._clock = clock
        self._agents = agents
        self._queues = queues
        self.ends: deque[str] = deque()
        self.hides_tool_calls = False

    async def run(self, record: ResponseRecord) -> None:
        """Raises `FailedToolCallError`."""
        record.status = "in_progress"
        end = self.ends.popleft() if self.ends else None
        if end is not None:
            await self._end(record, end)
        else:
            await self._steps(record, await self._servers(record))
        if self.hides_tool_calls:
            record.output = [item for item in record.output if not item["type"].startswith("azure_function")]
        if record.status == "in_progress":
            record.status = "completed"

    async def _servers(self, record: ResponseRecord) -> list[McpServer]:
        definitions = [tool for tool in record.tools if tool["type"] == "mcp"]
        if not definitions:
            return []
        module = await asyncio.to_thread(import_module, "app.local.foundry_stand_in.mcp_servers")
        servers: list[McpServer] = []
        for definition in definitions:
            servers.append(module.McpServer(definition, self._agents.headers_of(definition)))
            await servers[-1].list_tools()
            record.output.append(servers[-1].list_item())
        return servers

    async def _steps(self, record: ResponseRecord, servers: Sequence[McpServer]) -> None:
        tools = [*offered_tools(record.tools), *(tool for server in servers for tool in server.offered())]
        for request in _approved(record):
            (server,) = [each for each in servers if each.label == request["server_label"]]
            await self._call_server(record, server, request["name"], json.loads(request["arguments"]))
        for _ in range(_MAX_STEPS):
            step = next_step(tools, record.items)
            if isinstance(step, str):
                record.output.append(message_item(step))
                return
            made = [await self._call(record, call, servers) for call in step]
            if not all(made):
                return
        raise FailedToolCallError("The agent called too many tools.")

    async def _call(self, record: ResponseRecord, call: ChosenCall, servers: Sequence[McpServer]) -> bool:
        """Whether there is an output, and the client has not to act."""
        server = next((each for each in servers if call.name in each.tools), None)
        if server is not None:
            if server.needs_approval(call.name):
                record.output.append(approval_request_item(server.label, call.name, call.arguments))
                return False
            await self._call_server(record, server, call.name, call.arguments)
            return True
        tool = _azure_function(record.tools, call.name)
        if tool is None:
            record.output.append(function_call_item(call.name, call.arguments))
            return False
        call_id = f"call_{secrets.token_hex(12)}"
        value = await self._queues.call(tool, call_id, call.arguments)
        record.output += azure_function_items(call.name, call_id, call.arguments, value)
        return True

    async def _call_server(self, record: ResponseRecord, server: McpServer, name: str, arguments: Json) -> None:
        try:
            until = self._clock.now() + MCP_CALL_SECONDS
            output, error = await self._clock.before(until, server.call(name, arguments))
        except TimeoutError:
            output, error = None, f"The call of {name} took longer than {MCP_CALL_SECONDS:.0f} seconds."
        record.output.append(mcp_call_item(server.label, name, arguments, output, error))

    async def _end(self, record: ResponseRecord, end: str) -> None:
        if end in {"cancelled", "expired"}:
            record.status = end
        elif end == "failed":
            record.status, record.error = "failed", {"code": "server_error", "message": "The server had an error."}
        elif end in {"incomplete", "content_filter"}:
            record.status = "incomplete"
            record.incomplete_reason = "max_output_tokens" if end == "incomplete" else end
        elif end == "refusal":
            record.output.append(refusal_item("I cannot help with that."))
        elif end == "approval":
            record.output.append(approval_request_item("databricks", "ask", {}))
        elif end == "consent":
            link = "https://consent.example.com/login?data=x"
            request = {"type": "oauth_consent_request", "id": f"oauthreq_{secrets.token_hex(24)}", "consent_link": link}
            record.output.append(request | {"server_label": "databricks"})
            record.status = "incomplete"
        elif end == "no_tool":
            record.output.append(message_item("I know that without a tool."))
        elif end == "stuck":
            await asyncio.Event().wait()
        elif end != "empty":
            raise ValueError(f"There is no end {end!r}.")


def _azure_function(tools: Sequence[Json], name: str) -> Json | None:
    found = (tool for tool in tools if tool["type"] == "azure_function")
    return next((tool for tool in found if tool["azure_function"]["function"]["name"] == name), None)


def _approved(record: ResponseRecord) -> list[Json]:
    answers = [item for item in record.asked if item["type"] == "mcp_approval_response" and item.get("approve")]
    approved = {item["approval_request_id"] for item in answers}
    return [item for item in record.history if item["type"] == "mcp_approval_request" and item["id"] in approved]
