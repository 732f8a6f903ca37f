"""Workers of one app that ask functions behind queues, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.common.caller import UNKNOWN_CALLER
from app.function_tools.function_tools import FunctionTools
from app.models.model import ToolCall
from app.settings.function_tool_settings import FunctionToolSettings
from app.storage.documents import DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from app.tools.base import ToolContext, ToolResult
from app.tools.registry import ToolRegistry
from tests.fakes.function_queues import FunctionQueues
from tests.fakes.tools import tool_context, without_data_marks
from tests.fakes.virtual_time import VirtualTimeLoop

WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "endpoint": "https://functions.queue.core.windows.net/",
    "input_queue": "fn-in",
    "output_queue": "fn-out",
    "timeout_seconds": 60,
}
LISBON = ToolCall("1", "weather", '{"city": "Lisbon"}')


class Workers:
    """Workers of one app: they share storage and the function's queues."""

    def __init__(self, folder: Path, *functions: dict[str, Any]) -> None:
        self.queues = FunctionQueues()
        self.store = SqliteStore(folder / "agent.sqlite", clock=self.clock)
        self.documents = self.store.documents()
        named = json.dumps(functions or [WEATHER])
        self.settings = FunctionToolSettings.model_validate({"FUNCTION_TOOLS": named})
        self.providers: list[FunctionTools] = []

    def clock(self) -> float:
        return 1_800_000_000.0 + asyncio.get_running_loop().time()

    async def provider(self, documents: DocumentStore | None = None) -> FunctionTools:
        made = FunctionTools(self.settings, documents or self.documents, self.queues.open, clock=self.clock)
        self.providers.append(made)
        return made

    async def registry(self) -> ToolRegistry:
        return ToolRegistry(await (await self.provider()).tools(UNKNOWN_CALLER))

    async def close(self) -> None:
        for each in self.providers:
            await each.close()
        await self.store.close()


Scenario = Callable[[Workers], Awaitable[None]]


def run(folder: Path, scenario: Scenario, *functions: dict[str, Any]) -> None:
    async def whole() -> None:
        workers = Workers(folder, *functions)
        try:
            async with asyncio.timeout(3600):
                await scenario(workers)
        finally:
            await workers.close()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(whole())


def told(result: ToolResult) -> str:
    return without_data_marks(result.text)


def context(key: str = "turn-1-1") -> ToolContext:
    return replace(tool_context(), idempotency_key=key)


async def ended(task: asyncio.Task[Any]) -> None:
    """As a worker that is killed: nothing of it goes on."""
    task.cancel()
    await asyncio.wait({task})


def now() -> float:
    return asyncio.get_running_loop().time()
