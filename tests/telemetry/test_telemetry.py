"""What operations see of a turn: through the bot's endpoint, the real SDK and exporter, at an ingestion endpoint."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.composition.core import Core
from app.config import load_settings
from app.local.connector_server import ConnectorResponse
from app.models.model import Completed, ToolCall, Usage
from app.models.model_errors import RateLimitedError
from app.telemetry.destination import Destination
from app.telemetry.gen_ai import ModelCall
from app.telemetry.pipeline import Pipeline
from app.telemetry.telemetry import Telemetry
from app.telemetry.turn_span import something_shown, traced, turn_ended
from tests.fakes.application_insights import ApplicationInsights
from tests.fakes.certificate import localhost
from tests.fakes.connector_service import ConnectorService
from tests.fakes.entra import IDENTITY_HEADER, Entra
from tests.fakes.observed_bot import CALLED_FROM, TRACE, MakeBot, observed_bots
from tests.fakes.packaging import question, settings
from tests.fakes.serving_endpoint import ServingEndpoint

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = "The quarterly figure of Contoso was bad."


@pytest.fixture
async def make_bot(tmp_path: Path) -> AsyncIterator[MakeBot]:
    async with observed_bots(tmp_path) as make:
        yield make


async def test_a_turn_is_one_trace_from_the_activity_through_models_and_tools_to_the_answer(make_bot: MakeBot) -> None:
    call = ToolCall("call-1", "current_time", '{"time_zone": "Europe/Berlin"}')
    bot = await make_bot(
        [Completed(tool_calls=(call,), usage=Usage(10, 5))], ["It is late.", Completed(usage=Usage(30, 4))]
    )
    await bot.ask()
    await bot.telemetry.close()
    spans = bot.spans()
    assert set(spans) == {"turn", "chat scripted", "execute_tool current_time", "send typing", "send message"}
    assert {tags["ai.operation.id"] for tags in bot.insights.tags("RemoteDependencyData")} == {TRACE}
    assert {tags["ai.operation.parentId"] for tags in bot.insights.tags("RemoteDependencyData")} == {
        spans["turn"]["id"]
    }
    (turn,) = bot.insights.of("RequestData")
    assert turn["success"] is True
    assert turn["properties"]["agent.outcome"] == "answered"
    assert turn["properties"]["bot.channel"] == "Bot Framework Emulator"
    assert bot.insights.tags("RequestData")[0]["ai.operation.parentId"] == "b7ad6b7169203331"
    assert bot.insights.tags("RequestData")[0]["ai.cloud.role"] == "the-bot"
    assert bot.insights.tags("RequestData")[0]["ai.application.ver"] == "0.1.0+abc"


async def test_metrics_count_turns_tokens_and_times(make_bot: MakeBot) -> None:
    bot = await make_bot(["Because.", Completed(usage=Usage(10, 5))], RateLimitedError("try later"))
    await bot.ask()
    await bot.ask()
    await bot.telemetry.close()
    by_outcome = {
        data["properties"]["agent.outcome"]: data["metrics"][0]["value"] for data in bot.insights.metric("agent.turns")
    }
    assert by_outcome == {"answered": 1, "failed": 1}
    (failure,) = bot.insights.metric("agent.failures")
    assert failure["properties"]["error.type"] == "RateLimitedError"
    tokens = {
        data["properties"]["gen_ai.token.type"]: data["metrics"][0]["value"]
        for data in bot.insights.metric("gen_ai.client.token.usage")
    }
    assert tokens == {"input": 10, "output": 5}
    for name in ("agent.turn.duration", "agent.turn.time_to_first_update", "gen_ai.client.operation.duration"):
        assert sum(data["metrics"][0]["count"] for data in bot.insights.metric(name)) == 2, name
        assert all(0 < data["metrics"][0]["max"] < 30 for data in bot.insights.metric(name)), name


async def test_the_error_id_a_person_reads_finds_the_trace_and_the_log(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    bot = await make_bot(RateLimitedError("the endpoint is full"))
    await bot.ask()
    answer = bot.connector.calls[-1].text
    error_id = TRACE[-8:]
    assert f"(error id: {error_id})" in answer
    assert [
        line for line in caplog.records if f"error id {error_id}" in line.getMessage() and line.levelname == "ERROR"
    ]
    await bot.telemetry.close()
    (turn,) = bot.insights.of("RequestData")
    assert turn["success"] is False
    assert turn["properties"]["agent.failure"] == "RateLimitedError"
    assert turn["properties"]["agent.error_id"] == error_id
    assert bot.spans()["chat scripted"]["success"] is False


@pytest.mark.parametrize(
    "traceparent", [None, "", "00-nonsense", f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{TRACE}-{'1' * 16}-01"]
)
async def test_without_a_trace_of_the_host_a_turn_begins_its_own(make_bot: MakeBot, traceparent: str | None) -> None:
    bot = await make_bot("Because.")
    await bot.ask(traceparent=traceparent)
    await bot.telemetry.close()
    (tags,) = bot.insights.tags("RequestData")
    assert re.fullmatch(r"(?!0{32})[0-9a-f]{32}", tags["ai.operation.id"])
    assert tags["ai.operation.id"] != TRACE
    assert "ai.operation.parentId" not in tags


@pytest.mark.parametrize("records_text", [False, True])
async def test_text_is_recorded_only_where_a_setting_says_so(make_bot: MakeBot, records_text: bool) -> None:
    call = ToolCall("call-1", "current_time", json.dumps({"time_zone": "Atlantis/Secret"}))
    bot = await make_bot([Completed(tool_calls=(call,))], [f"I heard: {PRIVATE}"], records_text=records_text)
    await bot.ask(PRIVATE)
    await bot.telemetry.close()
    sent = json.dumps(bot.insights.items)
    assert ("quarterly" in sent, "I heard" in sent, "Atlantis" in sent) == (records_text,) * 3
    assert "Ann" not in sent
    assert "29:ann" not in sent


async def test_a_tool_name_the_model_made_up_is_not_recorded(make_bot: MakeBot) -> None:
    bot = await make_bot([Completed(tool_calls=(ToolCall("1", "Contoso earns 42", "{}"),))], "I cannot.")
    await bot.ask()
    await bot.telemetry.close()
    assert "Contoso" not in json.dumps(bot.insights.items)
    assert bot.spans()["execute_tool unknown"]["success"] is False


async def test_an_activity_that_is_not_for_the_bot_is_no_turn(make_bot: MakeBot) -> None:
    bot = await make_bot("Because.")
    not_mentioned: dict[str, Any] = {
        "channelId": "msteams",
        "conversation": {"id": "g", "conversationType": "groupChat", "tenantId": "t"},
    }
    await bot.ask("Lunch?", **not_mentioned)
    await bot.ask("Why?", id="second")
    await bot.telemetry.close()
    assert [request["name"] for request in bot.insights.of("RequestData")] == ["activity message", "turn"]
    (turns,) = bot.insights.metric("agent.turns")
    assert turns["metrics"][0]["value"] == 1


async def test_an_answer_the_channel_refuses_is_a_failed_turn(make_bot: MakeBot) -> None:
    bot = await make_bot("Because.")
    refused = ConnectorResponse.error(403, "ServiceError", "Not you.")
    bot.connector.script(refused, refused)
    await bot.ask()
    await bot.telemetry.close()
    (turn,) = bot.insights.of("RequestData")
    assert (turn["success"], turn["properties"]["agent.outcome"]) == (False, "failed")
    assert bot.spans()["send message"]["success"] is False


async def test_the_bot_works_while_application_insights_refuses_what_it_is_sent(
    make_bot: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    bot = await make_bot("Because.", "So.")
    bot.insights.status = 400
    await bot.ask()
    await bot.ask()
    await bot.telemetry.close()
    assert [call.text for call in bot.connector.calls if call.is_message] == ["Because.", "So."]
    assert any("Non-retryable" in record.getMessage() for record in caplog.records)


async def test_application_insights_without_keys_is_used_with_the_managed_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = localhost(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    async with Entra() as entra, ApplicationInsights(tls=context) as insights:
        monkeypatch.setenv("IDENTITY_ENDPOINT", entra.managed_identity_endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        identity = "11111111-2222-4333-8444-555555555555"
        settings = {
            "DATABRICKS_BASE_URL": "https://w.example/serving-endpoints",
            "DATABRICKS_MODEL_NAME": "m",
            "APPLICATIONINSIGHTS_CONNECTION_STRING": insights.connection_string,
            "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": f"Authorization=AAD;ClientId={identity}",
        }
        telemetry = Core(load_settings(settings)).telemetry
        with traced(telemetry.activity("message")) as turn:
            turn.begin(channel="Teams, one to one", conversation="x")
            turn_ended("answered")
        telemetry.answered()
        await telemetry.close()
        assert insights.of("RequestData")
        assert set(insights.authorizations) == {"Bearer token-1"}
        assert {asked["client_id"] for asked in entra.asked} == {identity}
        assert {asked["resource"] for asked in entra.asked} == {"https://monitor.azure.com/"}


async def test_on_the_console_a_turn_is_a_few_lines(tmp_path: Path) -> None:
    console = io.StringIO()
    before = set(threading.enumerate())
    pipeline = Pipeline(Destination("bot", "1", "here"), console=console)
    telemetry = Telemetry(Destination("bot", "1", "here"))
    telemetry._recorder.attach(pipeline)
    with traced(telemetry.activity("message", CALLED_FROM)) as turn:
        turn.begin(channel="Teams, one to one", conversation="x")
        with ModelCall("claude") as call:
            call.chunk("Because.")
            call.completed("stop", (120, 45))
        something_shown()
        turn_ended("answered")
    pipeline.close(5)
    lines = [re.sub(r"\d+\.\d+(e-\d+)?|\d+(\.\d+)?e-\d+", "N", line) for line in console.getvalue().splitlines()]
    assert lines[:2] == [
        f"trace {TRACE}   chat claude: N s, first chunk after N s, 120 tokens in, 45 tokens out",
        f"trace {TRACE} turn: N s, Teams, one to one, answered, first update after N s",
    ]
    assert "metric agent.turns (Teams, one to one, answered): 1" in lines
    assert (
        "metric gen_ai.client.token.usage (chat, databricks, claude, input): 1 times, 120 on average, 120 at most"
        in lines
    )
    assert set(threading.enumerate()) <= before


ASK = """
import asyncio, json, sys, function_app
from app.telemetry.telemetry import Telemetry

imported = []
Telemetry.answered = lambda telemetry: imported.append([name for name in sys.modules if "opentelemetry" in name])

async def ask():
    headers = {"Host": "localhost:7071", "Content-Type": "application/json"}
    answer = await function_app.host.receive_activity("POST", headers, sys.stdin.buffer.read())
    await function_app.close()
    return answer.status

print(json.dumps([asyncio.run(ask()), imported]))
"""


async def test_opentelemetry_is_not_imported_before_the_first_answer(tmp_path: Path) -> None:
    """Telemetry must not lengthen a cold start: `answered` is when its set-up begins."""
    insights = {"APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={'0' * 8}-0000-4000-8000-{'0' * 12}"}
    async with ServingEndpoint() as model, ConnectorService() as connector:
        asking = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", ASK),
            cwd=ROOT,
            env={**settings(model, tmp_path / "data"), **insights},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output, errors = await asking.communicate(json.dumps(question(connector)).encode())
        sent = [body["text"] for body in connector.bodies if body and body.get("type") == "message"]
    assert asking.returncode == 0, errors.decode()
    assert any("Hello" in text for text in sent), "the question was not answered"
    status, imported = json.loads(output)
    assert status in (200, 202)
    assert imported == [[]]
