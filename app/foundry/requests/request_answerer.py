"""A tool as what answers a turn."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.agent.events import Answer, Event
from app.agent.journal import ToolJournal
from app.agent.turn import Turn
from app.common.cancellation import Cancellation, time_limit_seconds
from app.foundry.requests.kept_values import KeptValues
from app.foundry.requests.request_metrics import request_begun, request_ended
from app.foundry.requests.tool_request import KeptValue, ToolRequest
from app.foundry.tools.foundry_tool import FailedCallError, FoundryTool, RefusedCallError, ToolCallContext
from app.storage.conversations import StoredMessage

TOO_LATE: Final = (
    "This request came too late: it waited in the queue for longer than a run in Foundry lives, so nothing was looked "
    "up. Ask again."
)
NOT_OFFERED: Final = "This tool is switched off. An administrator can switch it on with the setting FOUNDRY_TOOLS."


@dataclass(frozen=True, slots=True)
class RequestTurn(Turn):
    """`waited_seconds` is how old the request was when this worker began; after `deadline`, on the event loop's clock,
    nobody waits for its answer.
    """

    request: ToolRequest | None = None
    waited_seconds: float = 0.0
    deadline: float = math.inf
    progress: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class RefusalAnswer(Answer):
    """It says why there is no answer."""


class RequestAnswerer:
    """Implements `app.turns.answerer.Answerer`. At most `max_concurrent` tools are called at a time."""

    def __init__(
        self, tools: Sequence[FoundryTool], values: KeptValues, *, max_concurrent: int, time_limit_seconds: float
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._values = values
        self._slots = asyncio.Semaphore(max_concurrent)
        self._time_limit_seconds = time_limit_seconds

    async def answer(
        self,
        turn: Turn,
        history: Sequence[StoredMessage],
        *,
        said: str | None = None,
        journal: ToolJournal | None = None,
        approvals: Mapping[str, bool] | None = None,
        cancellation: Cancellation | None = None,
        deadline: float = math.inf,
    ) -> AsyncGenerator[Event, None]:
        assert isinstance(turn, RequestTurn)
        assert turn.request is not None
        request = turn.request
        # The worker before this one may have kept it, and died before it was sent.
        kept = await self._values.find(request.tool, request.correlation_id) if said is not None else None
        value = kept or await self._value(turn, request, cancellation or Cancellation())
        yield (RefusalAnswer if value.failed else Answer)(value.text, by_model=False)

    async def _value(self, turn: RequestTurn, request: ToolRequest, cancellation: Cancellation) -> KeptValue:
        clock = asyncio.get_running_loop().time
        if request.refusal:
            request_ended(request.tool, "refused")
            return KeptValue(request.refusal, failed=True)
        if (tool := self._tools.get(request.tool)) is None:
            request_ended(request.tool, "refused")
            return KeptValue(NOT_OFFERED, failed=True)
        try:
            call = tool.prepare(request.arguments)
            async with self._slots:
                if clock() >= turn.deadline:
                    request_ended(request.tool, "too late")
                    return KeptValue(TOO_LATE, failed=True)
                request_begun(request.tool, turn.waited_seconds)
                deadline = min(turn.deadline, clock() + self._time_limit_seconds)
                context = ToolCallContext(turn.idempotency_key, deadline, cancellation, turn.progress)
                async with time_limit_seconds(deadline - clock(), cancellation):
                    text = await call(context)
        except RefusedCallError as refusal:
            request_ended(request.tool, "failed" if isinstance(refusal, FailedCallError) else "refused")
            return KeptValue(str(refusal), failed=True)
        request_ended(request.tool, "answered")
        return KeptValue(text)
