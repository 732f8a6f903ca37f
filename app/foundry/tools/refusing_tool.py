"""A tool that cannot be used as the app is set up: it answers with what has to be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.foundry.tools.foundry_tool import FoundryTool, RefusedCallError, ToolCallContext


@dataclass(frozen=True, slots=True)
class RefusingTool:
    """A `FoundryTool`, as `tool` in all but that each call is refused with `sentence`."""

    tool: FoundryTool
    sentence: str

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def queue_name(self) -> str:
        return self.tool.queue_name

    @property
    def description(self) -> str:
        return self.tool.description

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.tool.parameters

    async def call(self, arguments: Mapping[str, Any], context: ToolCallContext) -> str:
        raise RefusedCallError(self.sentence)
