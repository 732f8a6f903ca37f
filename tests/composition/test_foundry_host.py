"""What the settings make of Foundry's requests, and what an operator sees of those that went wrong."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from app.composition.foundry import FoundryHost
from app.composition.functions_host import FunctionsHost
from app.config import load_settings
from app.foundry.requests.tool_message import QueuedMessage
from app.foundry.requests.tool_request import ToolRequest
from app.storage.storage_errors import StorageError
from tests.composition.test_foundry import message, on_queue, opened, receive
from tests.composition.test_functions_host import ACCOUNT, WORKSPACE
from tests.fakes.application_insights import ApplicationInsights
from tests.fakes.log_analytics import run, tables_of
from tests.fakes.serving_endpoint import ServingEndpoint, Stream, chat_stream
from tests.ops.files.deployments import query
from tests.telemetry.test_alerts import query_of

WEATHER = {"description": "The weather.", "endpoint": "https://a.queue.core.windows.net"}
FUNCTIONS = [
    {"name": "weather", "input_queue": "weather-in", "output_queue": "weather-out", "reads_only": True, **WEATHER},
    {"name": "launch", "input_queue": "launch-in", "output_queue": "launch-out", **WEATHER},
]


async def test_an_agent_in_foundry_is_offered_what_only_reads(tmp_path: Path) -> None:
    async with ServingEndpoint() as endpoint:
        host = opened(endpoint, tmp_path, FUNCTION_TOOLS=json.dumps(FUNCTIONS))
        await receive(host, message())
        await host.close()
    (asked,) = endpoint.asked
    offered = {tool["function"]["name"] for tool in asked.body["tools"]}
    assert "weather" in offered
    assert "launch" not in offered, "nobody could be asked for an approval"


class SlowModel(ServingEndpoint):
    """`most` is how many it was answering at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self._answering = 0
        self.replies = self  # type: ignore[assignment]

    def popleft(self) -> Stream:
        """As of `replies`, of which there is always one more."""
        passed = asyncio.Event()

        def end() -> None:
            self._answering -= 1
            passed.set()

        self._answering += 1
        self.most = max(self.most, self._answering)
        asyncio.get_running_loop().call_later(0.1, end)
        return Stream([passed, *chat_stream("It is 7.").steps])


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_requests_are_answered_at_a_time_than_the_setting_says(tmp_path: Path, most: int) -> None:
    async with SlowModel() as model:
        host = opened(model, tmp_path, FOUNDRY_MAX_CONCURRENT_REQUESTS=str(most))
        await asyncio.gather(*(receive(host, message(f"c{number}")) for number in range(7)))
        assert len(await on_queue(tmp_path)) == 7
        await host.close()
    assert 0 < model.most <= most


@pytest.mark.parametrize("is_poisoned", [False, True])
async def test_a_poisoned_message_raises_the_alert_and_a_dropped_one_is_in_the_workbook(
    tmp_path: Path, *, is_poisoned: bool
) -> None:
    async with ServingEndpoint() as endpoint, ApplicationInsights() as insights:
        host = opened(endpoint, tmp_path, APPLICATIONINSIGHTS_CONNECTION_STRING=insights.connection_string)
        if is_poisoned:
            await host.receive_poisoned_foundry_request("ask", message(), "m1", time.time())
        else:
            await receive(host, message(None))
        await host.close()
        assert bool(run(query("poison"), tables_of(insights))) is is_poisoned
        requests = run(query_of("Foundry: requests by tool and outcome"), tables_of(insights))
    outcome = "refused" if is_poisoned else "dropped"
    assert requests == [{"Tool": "ask", "Outcome": outcome, "Requests": 1}]


async def test_a_request_goes_on_in_the_trace_that_the_host_has_begun_for_its_message(tmp_path: Path) -> None:
    async with ServingEndpoint() as endpoint, ApplicationInsights() as insights:
        host = opened(endpoint, tmp_path, APPLICATIONINSIGHTS_CONNECTION_STRING=insights.connection_string)
        trace_id = "a" * 32
        await host.receive_foundry_request("ask", message(), "m1", time.time(), f"00-{trace_id}-{'b' * 16}-01")
        await host.close()
        (turn,) = [row for row in tables_of(insights)["AppRequests"] if row["Name"] == "turn"]
    assert (turn["OperationId"], turn["Properties"]["bot.channel"]) == (trace_id, "foundry")


async def test_health_says_that_requests_cannot_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse() -> None:
        raise StorageError("AuthorizationFailure")

    async with ServingEndpoint() as endpoint:
        host = opened(endpoint, tmp_path)
        await receive(host, message())
        assert host._foundry is not None
        monkeypatch.setattr(host._foundry._queue, "ping", refuse)
        answer = await host.health.answer_with_dependencies("GET")
        await host.close()
    assert json.loads(answer.body)["foundry"]["state"] == "failed"


@pytest.mark.parametrize(
    ("uri", "is_told"),
    [
        ("https://a.queue.core.windows.net/azure-function-ask-output", False),
        ("https://b.queue.core.windows.net/azure-function-ask-output", True),
        ("https://a.queue.core.windows.net/azure-function-other-output", True),
    ],
)
async def test_an_output_queue_of_another_account_is_told(
    uri: str, is_told: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = FunctionsHost(load_settings({**WORKSPACE, **ACCOUNT, "DATABRICKS_TOKEN": "t"}))
    foundry = FoundryHost(host.core, host._settings)
    asked: list[ToolRequest] = []

    async def answer(request: ToolRequest, **_: object) -> None:
        asked.append(request)

    monkeypatch.setattr(foundry.requests, "answer", answer)
    content = message(function_args={"query": "Sales?", "outputqueueuri": uri})
    await foundry.receive("ask", QueuedMessage(content, "m1", time.time()))
    assert ("Message m1 names another output queue" in caplog.text) is is_told
    assert [dict(request.arguments) for request in asked] == [{"query": "Sales?"}]
    await foundry.close()
    await host.close()
