"""One trace from `ask` in a terminal through Foundry and the queue to the tool, and on to a function of others."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.common.caller import UNKNOWN_CALLER
from app.foundry.agents.classic_client import open_classic_project
from app.foundry.agents.project_client import open_project
from app.foundry.requests.tool_message import QueuedMessage, parse_tool_message
from app.foundry.requests.tool_requests import REQUEST_QUEUE, RequestStorage, ToolRequests
from app.foundry.tools.foundry_tool import PreparedCall, ToolCallContext
from app.function_tools.function_tools import FunctionTools
from app.local.foundry_stand_in.function_queues import Encoding, Shape, read_answer, written_message
from app.local.foundry_stand_in.function_queues import caller_traceparent as sent_traceparent
from app.local.foundry_stand_in.server import FoundryStandIn
from app.models.model import ToolCall
from app.settings.function_tool_settings import FunctionToolSettings
from app.storage.queue_encoding import encode_message
from app.storage.sqlite.sqlite_store import SqliteStore
from app.telemetry.span_records import FinishedSpan
from app.tools.registry import ToolRegistry
from app.turns.lease import TurnBackend
from tests.fakes.foundry_project import served
from tests.fakes.foundry_requests import RecordedTelemetry
from tests.fakes.function_queues import FunctionQueues
from tests.fakes.tools import tool_context, without_data_marks
from tests.foundry.agents.classic.conftest import ClassicProgramHarness
from tests.foundry.agents.conftest import ProgramHarness, quick_calls
from tests.function_tools.function_workers import WEATHER


class Spans(RecordedTelemetry):
    def __init__(self) -> None:
        super().__init__()
        self.ended: list[FinishedSpan] = []

    def span(self, span: FinishedSpan) -> None:
        self.ended.append(span)


class WeatherTool:
    """A tool of Foundry's agents that itself asks a function behind queues."""

    name = "ask"
    queue_name = "ask"
    description = "Answers."
    parameters: Mapping[str, Any] = {}

    def __init__(self, registry: ToolRegistry) -> None:
        self._registry = registry

    def prepare(self, arguments: Mapping[str, Any]) -> PreparedCall:
        return self._call

    async def _call(self, context: ToolCallContext) -> str:
        call = ToolCall("1", "weather", '{"city": "Lisbon"}')
        return without_data_marks((await self._registry.run(call, tool_context())).text)


@asynccontextmanager
async def opened(classic: bool) -> AsyncIterator[ProgramHarness | ClassicProgramHarness]:
    stand_in = FoundryStandIn()
    async with served(stand_in) as address:
        if classic:
            async with open_classic_project(address, quick_calls()) as threads:
                yield ClassicProgramHarness(stand_in, address, threads)
        else:
            async with open_project(address, quick_calls()) as project:
                yield ProgramHarness(stand_in, address, project)


@pytest.mark.parametrize(
    ("classic", "shape", "encoding"),
    [(False, "nested", "base64"), (False, "text", "plain"), (True, "flat", "base64")],
)
async def test_a_question_is_one_trace_from_ask_to_the_last_function(
    tmp_path: Path, classic: bool, shape: Shape, encoding: Encoding
) -> None:
    telemetry, functions, store = Spans(), FunctionQueues(), SqliteStore(tmp_path / "agent.sqlite")
    settings = FunctionToolSettings.model_validate({"FUNCTION_TOOLS": [{**WEATHER, "reads_only": True}]})
    provider = FunctionTools(settings, store.documents(), functions.open)
    tool = WeatherTool(ToolRegistry(await provider.tools(UNKNOWN_CALLER)))
    output = store.queue("azure-function-ask-output")
    backend = TurnBackend(store, store.queue(REQUEST_QUEUE), store.artifacts(), 30.0)
    storage = RequestStorage(backend, store.documents(), lambda _: output)
    requests = ToolRequests([tool], storage, telemetry, max_concurrent=4, time_limit_seconds=60)

    async def queued(_: Mapping[str, Any], correlation_id: str, arguments: dict[str, Any]) -> str:
        """The service's part and that of the Functions host, on one message."""
        content = written_message(correlation_id, arguments, shape, encoding, sent_traceparent.get())
        parsed = parse_tool_message("ask", QueuedMessage(content.encode(), "m1", 1_800_000_000.0))
        await requests.answer(parsed.request)
        (answered,) = await output.receive(9, visibility_timeout=60)
        found = read_answer(encode_message(answered.body))
        assert found is not None
        assert found[0] == correlation_id
        return found[1]

    asked: list[dict[str, Any]] = []

    def weather(question: dict[str, Any]) -> str:
        asked.append(question)
        return "Sunny"

    serving = asyncio.create_task(functions.serve(weather))
    async with opened(classic) as harness:
        harness.stand_in.queues.call = queued  # type: ignore[method-assign, assignment]
        await harness.orchestrator().create()
        answer = await harness.orchestrator().ask("How is the weather?", 20)
    assert answer.text == "Sunny"
    (trace_id,) = re.findall(r"^trace ([0-9a-f]{32})$", harness.text(), re.MULTILINE)
    assert {f"{span.trace_id:032x}" for span in telemetry.ended} == {trace_id}
    names = [span.name for span in telemetry.ended]
    assert "turn" in names, names
    assert any("weather" in name for name in names), names
    assert asked[0]["traceparent"].split("-")[1] == trace_id
    serving.cancel()
    await asyncio.wait({serving})
    for part in (requests, provider, store):
        await part.close()
