"""A turn that makes one call of a tool, which a person asked for by a button: no model is asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from app.agent.events import Event
from app.agent.tool_steps import ToolSteps
from app.models.model import ToolCall


class ToolCallFailedError(Exception):
    """A tool that was called by a button failed; what it said may quote data, and is told to the person alone."""


async def make_call(call: ToolCall, steps: ToolSteps) -> AsyncGenerator[Event, None]:
    """Once: a resumed turn goes on with what was recorded. Without the end; the call may wait for an approval."""
    for event in steps.restore():
        yield event
    if steps.recorded.steps and not steps.unfinished:
        return
    made = steps.resume() if steps.recorded.steps else steps.run("", (call,))
    async with aclosing(made) as events:
        async for event in events:
            yield event
