"""Whatever hangs, a call over MCP is answered before Foundry cuts it off after a minute. In virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.foundry.mcp.foundry_mcp import FoundryMcp
from app.foundry.mcp.tool_calls import ToolCalls
from tests.fakes.virtual_time import VirtualTimeLoop
from tests.foundry.mcp.served_mcp import MemoryRequests


def test_a_call_of_which_nothing_comes_ends_within_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: Any) -> None:
        await asyncio.Event().wait()

    async def play() -> tuple[int, float]:
        mcp, clock = FoundryMcp(ToolCalls([], MemoryRequests())), asyncio.get_running_loop().time
        began = clock()
        with monkeypatch.context() as hanging:
            hanging.setattr(mcp, "_endpoint", hang)
            status = (await mcp.receive("POST", {}, b"{}")).status
            took_seconds = clock() - began
        await mcp.close()
        return status, took_seconds

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        status, took_seconds = virtual.run(play())
    assert status == 504
    assert took_seconds < 60
