"""A tool that cannot be used as the app is set up: it answers with what has to be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.foundry.tools.foundry_tool import PreparedCall, RefusedCallError
from app.foundry.tools.tool_definitions import ToolDefinition


class RefusingTool:
    """A `FoundryTool` of which each call is refused with `sentence`."""

    def __init__(self, definition: ToolDefinition, sentence: str) -> None:
        self.name = definition.name
        self.queue_name = definition.queue_name
        self.description = definition.description
        self.parameters = definition.parameters
        self._sentence = sentence

    def prepare(self, arguments: Mapping[str, Any]) -> PreparedCall:
        raise RefusedCallError(self._sentence)
