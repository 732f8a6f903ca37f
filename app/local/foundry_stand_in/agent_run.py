"""One run of an agent: the script decides, tools are called, until there is an answer or the client has to act."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence

from app.local.foundry_stand_in.function_queues import FailedToolCallError, FunctionQueues
from app.local.foundry_stand_in.refusals import Json
from app.local.foundry_stand_in.response_record import (
    ResponseRecord,
    azure_function_items,
    function_call_item,
    message_item,
    refusal_item,
)
from app.local.foundry_stand_in.script import ChosenCall, next_step
from app.local.foundry_stand_in.tool_definitions import offered_tools

_MAX_STEPS = 20


class AgentRuns:
    """`ends` are those of the next runs in turn, in place of what the script makes of them:

    "incomplete", "content_filter", "failed", "expired", "cancelled", "refusal", "empty", "approval", "consent",
    "no_tool" (the model answers by itself) and "stuck" (nothing happens until the run expires).

    `hides_tool_calls`: the output holds only the answer, as has been seen.
    """

    def __init__(self, queues: FunctionQueues) -> None:
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
            await self._steps(record)
        if self.hides_tool_calls:
            record.output = [item for item in record.output if not item["type"].startswith("azure_function")]
        if record.status == "in_progress":
            record.status = "completed"

    async def _steps(self, record: ResponseRecord) -> None:
        tools = list(offered_tools(record.tools))
        for _ in range(_MAX_STEPS):
            step = next_step(tools, record.items)
            if isinstance(step, str):
                record.output.append(message_item(step))
                return
            if not await self._call(record, step):
                return
        raise FailedToolCallError("The agent called too many tools.")

    async def _call(self, record: ResponseRecord, calls: Sequence[ChosenCall]) -> bool:
        """Whether the service itself has the outputs."""
        own = True
        for call in calls:
            tool = _definition(record.tools, call.name)
            if tool["type"] == "function":
                record.output.append(function_call_item(call.name, call.arguments))
                own = False
            else:
                call_id = f"call_{secrets.token_hex(12)}"
                value = await self._queues.call(tool, call_id, call.arguments)
                record.output += azure_function_items(call.name, call_id, call.arguments, value)
        return own

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
            request = {"type": "mcp_approval_request", "id": f"mcpr_{secrets.token_hex(24)}", "arguments": "{}"}
            record.output.append(request | {"server_label": "databricks", "name": "ask"})
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


def _definition(tools: Sequence[Json], name: str) -> Json:
    for tool in tools:
        if tool["type"] == "function" and tool["name"] == name:
            return tool
        if tool["type"] == "azure_function" and tool["azure_function"]["function"]["name"] == name:
            return tool
    raise FailedToolCallError(f"There is no tool {name}.")
