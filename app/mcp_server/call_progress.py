"""Progress while a tool runs: many clients give up after a minute in which they heard nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from mcp.server.context import ServerRequestContext

from app.common.concurrency import end_task

_Result = TypeVar("_Result")

_PROGRESS_SECONDS = 5.0


class CallProgress:
    def __init__(self, context: ServerRequestContext[Any, Any]) -> None:
        self._context = context
        self._line = "Working on it"
        self._steps = 0

    def say(self, line: str) -> None:
        self._line = line

    async def report(self) -> None:
        self._steps += 1
        await self._context.session.report_progress(self._steps, None, self._line)


async def with_progress(
    context: ServerRequestContext[Any, Any], work: Coroutine[Any, Any, _Result], progress: CallProgress | None = None
) -> _Result:
    """What `work` returns; it ends with its caller. The last line of `progress` is reported every five seconds."""
    progress = progress or CallProgress(context)
    working = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({working}, timeout=_PROGRESS_SECONDS))[0]:
            await progress.report()
        return working.result()
    finally:
        await end_task(working, "A call over MCP")
