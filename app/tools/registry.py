"""Tools the model may call: looked up by name, run with a time limit, their failures told to the model."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app.models.model import Message, ToolCall, ToolDefinition
from app.telemetry.gen_ai import end_tool_call, start_tool_call
from app.telemetry.spans import as_current

_log = logging.getLogger(__name__)
_LONGEST_RESULT = 20_000


class ToolError(Exception):
    """`str()` is told to the model, so that it can try otherwise."""


class Tool(Protocol):
    @property
    def definition(self) -> ToolDefinition: ...

    @property
    def time_limit(self) -> float:
        """Seconds."""
        ...

    async def run(self, arguments: Mapping[str, Any]) -> str:
        """Raises `ToolError`."""
        ...


@dataclass(frozen=True, slots=True)
class ToolResult:
    call: ToolCall
    text: str
    succeeded: bool

    def as_message(self) -> Message:
        return Message("tool", self.text, tool_call_id=self.call.id)


class ToolRegistry:
    def __init__(self, tools: Sequence[Tool] = ()) -> None:
        self._tools = {tool.definition.name: tool for tool in tools}

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        return tuple(tool.definition for tool in self._tools.values())

    async def run(self, call: ToolCall) -> ToolResult:
        """Never raises for what the model or the tool did wrong."""
        # What the model made up as a name is not recorded.
        name = call.name if call.name in self._tools else "unknown"
        with start_tool_call(name, call.arguments) as span, as_current(span):
            result, failure = await self._result(call)
            end_tool_call(span, result.text, failure)
        return result

    async def _result(self, call: ToolCall) -> tuple[ToolResult, str | None]:
        """The result, and the kind of failure if there was one."""
        try:
            text = await self._run(call)
        except ToolError as failure:
            return ToolResult(call, f"The tool failed: {failure}", succeeded=False), type(failure).__name__
        except Exception as error:
            _log.exception("Tool %s failed unexpectedly", call.name if call.name in self._tools else "(unknown)")
            told = "The tool failed for a reason that is not known."
            return ToolResult(call, told, succeeded=False), type(error).__name__
        if len(text) > _LONGEST_RESULT:
            text = f"{text[:_LONGEST_RESULT]}\n[The rest, {len(text) - _LONGEST_RESULT} characters, was left out.]"
        return ToolResult(call, text, succeeded=True), None

    async def _run(self, call: ToolCall) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            raise ToolError(f"there is no tool of that name; there are: {', '.join(self._tools) or 'none'}")
        arguments = _read_arguments(call.arguments)
        try:
            async with asyncio.timeout(tool.time_limit):
                return await tool.run(arguments)
        except TimeoutError:
            raise ToolError(f"it did not end within {tool.time_limit:g} seconds") from None


def _read_arguments(text: str) -> Mapping[str, Any]:
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        raise ToolError("its arguments are not JSON") from None
    if not isinstance(arguments, dict):
        raise ToolError("its arguments are not a JSON object")
    return arguments
