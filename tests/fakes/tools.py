"""Tools as tests bring them to a turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from app.common.caller import UNKNOWN_CALLER, Caller
from app.common.cancellation import Cancellation
from app.common.identity import APP_IDENTITY
from app.storage.conversations import ConversationKey
from app.tools.base import AnyTool, ToolContext


class StaticTools:
    """The same tools for everybody."""

    def __init__(self, tools: Sequence[AnyTool]) -> None:
        self._tools = tuple(tools)

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return self._tools


def tool_context(progress: Callable[[str], None] = lambda _: None, deadline: float = math.inf) -> ToolContext:
    key = ConversationKey("tenant", "conversation")
    return ToolContext(key, UNKNOWN_CALLER, APP_IDENTITY, "", Cancellation(), "turn/1/1", progress, deadline)


def without_data_marks(text: str) -> str:
    """What a tool returned, of a message that marks it as data to the model."""
    if not text.startswith("[Data from a tool"):
        return text
    _, _, marked = text.partition("\n")
    data, _, rest = marked.rpartition("\n[end ")
    return data + rest.partition("]")[2]
