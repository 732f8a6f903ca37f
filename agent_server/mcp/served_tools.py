"""The tools that are served over MCP beside the agent itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from agent_server.identity.server_caller import ServerCaller
from app.common.caller import Caller
from app.common.cancellation import Cancellation
from app.models.model import ToolCall
from app.storage.conversations import ConversationKey
from app.tools.base import SEEN_AS_TABLE, Effect, ToolContext
from app.tools.registry import ToolRegistry
from app.translation import translator_for

_LOCALE = "en"
_TIME_LIMIT_SECONDS = 90.0
"""Below the 100 s after which Azure AI Foundry cuts a call."""


@dataclass(frozen=True, slots=True)
class ServedTool:
    name: str
    title: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServedResult:
    text: str
    succeeded: bool


Progress = Callable[[str], None]


class ServedTools(Protocol):
    """All of them only read: nobody could be asked for an approval."""

    async def tools(self, caller: ServerCaller) -> Sequence[ServedTool]: ...

    async def call(
        self, name: str, arguments: Mapping[str, Any], caller: ServerCaller, progress: Progress
    ) -> ServedResult | None:
        """None where there is no tool of that name. What goes wrong is said in the result."""
        ...


class AgentTools:
    """Those of the Databricks agent that only read and need no conversation. `registry_for` is `Agent.tools_for`."""

    def __init__(self, registry_for: Callable[[Caller], Awaitable[ToolRegistry]]) -> None:
        self._registry_for = registry_for

    async def tools(self, caller: ServerCaller) -> Sequence[ServedTool]:
        registry = await self._reading(caller)
        translate = translator_for(_LOCALE)
        return [
            ServedTool(
                tool.name,
                tool.title_in(translate),
                tool.description.replace(SEEN_AS_TABLE, ""),
                tool.definition.parameters,
            )
            for tool in registry.tools
        ]

    async def call(
        self, name: str, arguments: Mapping[str, Any], caller: ServerCaller, progress: Progress
    ) -> ServedResult | None:
        registry = await self._reading(caller)
        if registry.find(name) is None:
            return None
        call_id = uuid4().hex
        context = ToolContext(
            ConversationKey(caller.tenant, "mcp", call_id),
            _as_caller(caller),
            caller.identity,
            _LOCALE,
            Cancellation(),
            idempotency_key=call_id,
            progress=progress,
            deadline=asyncio.get_running_loop().time() + _TIME_LIMIT_SECONDS,
            shows_blocks=False,
        )
        result = await registry.run(ToolCall(call_id, name, json.dumps(dict(arguments))), context)
        return ServedResult(result.text, result.succeeded)

    async def _reading(self, caller: ServerCaller) -> ToolRegistry:
        registry = await self._registry_for(_as_caller(caller))
        served = (tool for tool in registry.tools if tool.effect is Effect.READ_ONLY and not tool.needs_conversation)
        return ToolRegistry(list(served))


def _as_caller(caller: ServerCaller) -> Caller:
    return Caller(tenant_id=caller.tenant, user_id=caller.owner, name=caller.name)
