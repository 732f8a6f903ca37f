"""Telemetry where turns go another way: stopped, cut off, side by side, unheard; and never in the way of an answer."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from app.composition.core import Core
from app.config import load_settings
from app.local.connector_server import ConnectorCall, ConnectorResponse
from app.models.model import Completed, ToolCall
from app.models.model_errors import RateLimitedError
from app.telemetry import telemetry as telemetry_module
from app.telemetry.destination import Destination
from app.telemetry.instruments import TURNS
from app.telemetry.recorder import Recorder
from app.telemetry.span_records import FinishedSpan, Measurement, SpanKind
from app.telemetry.spans import start_span
from app.telemetry.telemetry import Telemetry, TelemetryError
from app.telemetry.turn_span import TurnSpan, traced, turn_ended, turn_failed
from app.tools.base import Effect, Tool, ToolArguments, ToolContext, ToolOutput
from tests.fakes.observed_bot import IN_TEAMS, MakeBot, ObservedBot, observed_bots


@pytest.fixture
async def make_bot(tmp_path: Path) -> AsyncIterator[MakeBot]:
    async with observed_bots(tmp_path) as make:
        yield make


def turn_of(bot: ObservedBot) -> dict[str, Any]:
    (turn,) = [request for request in bot.insights.of("RequestData") if request["name"] == "turn"]
    return turn


async def test_a_turn_that_the_person_stopped_is_stopped_and_no_failure(make_bot: MakeBot) -> None:
    bot = await make_bot(["Because ", asyncio.Event()])

    def stopped(call: ConnectorCall) -> ConnectorResponse | None:
        text = bool(call.stream) and call.activity.get("text", "").startswith("Because")
        return (
            ConnectorResponse.error(403, "ContentStreamNotAllowed", "Content stream was canceled by user.")
            if text
            else None
        )

    bot.connector.rule = stopped
    await bot.ask(**IN_TEAMS)
    await bot.telemetry.close()
    turn = turn_of(bot)
    assert (turn["success"], turn["properties"]["agent.outcome"]) == (True, "stopped")
    assert bot.insights.metric("agent.failures") == []
    chat = bot.spans()["chat scripted"]
    assert (chat["success"], chat["properties"]["agent.cancelled"]) == (True, "True")


async def test_of_a_long_stream_only_the_first_update_and_the_end_are_spans(make_bot: MakeBot) -> None:
    pauses = [asyncio.sleep(1.1) for _ in range(3)]
    bot = await make_bot(["One ", pauses[0], "two ", pauses[1], "three ", pauses[2], "four."])
    await bot.ask(**IN_TEAMS)
    await bot.telemetry.close()
    assert len(bot.connector.calls) >= 4
    sends = [span["name"] for span in bot.insights.of("RemoteDependencyData") if span["name"].startswith("send")]
    assert sends == ["send typing", "send message"]


async def test_a_send_that_teams_refuses_says_why(make_bot: MakeBot) -> None:
    bot = await make_bot("Because.")
    refused = ConnectorResponse.error(403, "ServiceError", "Not you.")
    bot.connector.script(refused, refused)
    await bot.ask()
    await bot.telemetry.close()
    assert bot.spans()["send message"]["properties"]["agent.failure"] == "ConversationClosedError"


async def test_a_failure_is_recorded_with_its_stack_and_without_its_message(make_bot: MakeBot) -> None:
    bot = await make_bot(RateLimitedError("the quarterly figure of Contoso"))
    await bot.ask()
    await bot.telemetry.close()
    (exception,) = bot.insights.of("ExceptionData")
    (detail,) = exception["exceptions"]
    assert detail["typeName"] == "RateLimitedError"
    assert "scripted_model.py" in detail["stack"]
    assert "Contoso" not in json.dumps(bot.insights.items)
    assert bot.spans()["chat scripted"]["properties"]["agent.failure"] == "RateLimitedError"


async def test_an_undeliverable_welcome_does_not_count_as_a_failed_turn(make_bot: MakeBot) -> None:
    bot = await make_bot()
    bot.connector.script(ConnectorResponse.error(403, "BotNotInConversationRoster", "No."))
    await bot.ask("", type="conversationUpdate", channelId="webchat", membersAdded=[{"id": "28:bot"}])
    await bot.telemetry.close()
    (request,) = bot.insights.of("RequestData")
    assert (request["name"], request["success"]) == ("activity conversationUpdate", False)
    assert bot.insights.metric("agent.turns") == bot.insights.metric("agent.failures") == []


async def test_an_unknown_activity_type_gets_no_span_name_of_its_own(make_bot: MakeBot) -> None:
    bot = await make_bot()
    await bot.ask("", type="Contoso earns 42")
    await bot.telemetry.close()
    assert [request["name"] for request in bot.insights.of("RequestData")] == ["activity other"]


async def test_replies_in_the_response_have_a_first_update_too(make_bot: MakeBot) -> None:
    bot = await make_bot("Because.")
    await bot.ask(deliveryMode="expectReplies")
    await bot.telemetry.close()
    assert float(turn_of(bot)["properties"]["agent.time_to_first_update"]) > 0


async def test_turns_side_by_side_keep_their_traces_apart(make_bot: MakeBot) -> None:
    gate = asyncio.Event()
    bot = await make_bot(*[["Yes.", gate] for _ in range(3)])
    traces = [f"{n:032x}" for n in (1, 2, 3)]
    asking = [
        asyncio.create_task(bot.ask(traceparent=f"00-{trace}-{'1' * 16}-01", conversation={"id": trace}))
        for trace in traces
    ]
    await asyncio.sleep(0.1)
    gate.set()
    await asyncio.gather(*asking)
    await bot.telemetry.close()
    for kind, names in (("RequestData", 1), ("RemoteDependencyData", 3)):
        found = [tags["ai.operation.id"] for tags in bot.insights.tags(kind)]
        assert {trace: found.count(trace) for trace in traces} == dict.fromkeys(traces, names)


async def ask_another_service(arguments: ToolArguments, context: ToolContext) -> ToolOutput:
    with start_span("inner", SpanKind.CLIENT, {}):
        return ToolOutput("done")


async def test_spans_of_a_tool_are_children_of_the_tools_span(make_bot: MakeBot) -> None:
    asking = Tool("asking", "", ToolArguments, ask_another_service, Effect.READ_ONLY)
    bot = await make_bot([Completed((ToolCall("1", "asking", "{}"),))], "Yes.", tools=(asking,))
    await bot.ask()
    await bot.telemetry.close()
    spans = bot.spans()
    parents = {
        item["data"]["baseData"]["name"]: item["tags"]["ai.operation.parentId"]
        for item in bot.insights.items
        if item["data"]["baseType"] == "RemoteDependencyData"
    }
    assert parents["inner"] == spans["execute_tool asking"]["id"]
    assert parents["execute_tool asking"] == spans["turn"]["id"]


async def test_export_is_set_up_after_the_answer_and_never_before(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await make_bot("Because.")
    sent_by_then: list[int] = []
    build = telemetry_module._pipeline

    def watched(destination: Destination) -> Any:
        sent_by_then.append(len([call for call in bot.connector.calls if call.is_message]))
        return build(destination)

    monkeypatch.setattr(telemetry_module, "_pipeline", watched)
    await bot.ask()
    await bot.telemetry.close()
    assert sent_by_then == [1]
    assert turn_of(bot)


async def set_up_failed(telemetry: Telemetry) -> None:
    async with asyncio.timeout(10):
        while telemetry._setting_up is not None:  # noqa: ASYNC110 - a task of the code under test
            await asyncio.sleep(0.005)


async def test_a_set_up_that_fails_is_tried_three_times_and_health_says_so(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(destination: Destination) -> Any:
        raise OSError("no exporter")

    bot = await make_bot(*["Because."] * 5)
    assert await bot.telemetry.check() is False
    monkeypatch.setattr(telemetry_module, "_pipeline", broken)
    for _ in range(5):
        await bot.ask()
        await set_up_failed(bot.telemetry)
    assert [call.text for call in bot.connector.calls if call.is_message] == ["Because."] * 5
    assert sum("Telemetry could not be set up" in record.getMessage() for record in caplog.records) == 3
    with pytest.raises(TelemetryError):
        await bot.telemetry.check()


async def test_a_set_up_that_fails_once_is_forgotten_when_the_next_works(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await make_bot("Because.", "So.")
    build, attempt_count = telemetry_module._pipeline, iter([True, False])

    def broken_at_first(destination: Destination) -> Any:
        if next(attempt_count):
            raise OSError("not yet")
        return build(destination)

    monkeypatch.setattr(telemetry_module, "_pipeline", broken_at_first)
    await bot.ask()
    await set_up_failed(bot.telemetry)
    await bot.ask()
    await bot.telemetry.close()
    assert await bot.telemetry.check()
    assert len(bot.insights.of("RequestData")) == 2


async def test_health_says_when_what_is_sent_does_not_arrive(make_bot: MakeBot) -> None:
    bot = await make_bot("Because.")
    bot.insights.status = 400
    await bot.ask()
    await bot.telemetry.close()
    with pytest.raises(TelemetryError):
        await bot.telemetry.check()


async def test_an_ingestion_endpoint_that_hangs_does_not_delay_the_end(make_bot: MakeBot) -> None:
    bot = await make_bot("Because.", closing=0.3)
    bot.insights.hold = asyncio.Event()
    await bot.ask()
    started = time.monotonic()
    await bot.telemetry.close()
    assert time.monotonic() - started < 8
    bot.insights.hold.set()


async def test_a_set_up_that_hangs_does_not_delay_the_end(make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(telemetry_module, "_pipeline", lambda destination: release.wait(20))
    bot = await make_bot("Because.", closing=0.2)
    try:
        await bot.ask()
        started = time.monotonic()
        await bot.telemetry.close()
        assert time.monotonic() - started < 8
        running = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
        assert "Telemetry._set_up" not in running, "the set-up task still runs"
    finally:
        release.set()


async def test_nothing_is_sent_elsewhere_or_kept_on_disk(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    bot = await make_bot("Because.")
    await bot.ask()
    await bot.telemetry.close()
    assert list(folder.iterdir()) == []
    for feature in ("STATSBEAT_DISABLED_ALL", "SDKSTATS_DISABLED", "CONTROLPLANE_DISABLED"):
        assert os.environ[f"APPLICATIONINSIGHTS_{feature}"] == "true"
    ours = ("_OTELRESOURCE_", "agent.", "gen_ai.")
    assert [
        data["metrics"][0]["name"]
        for data in bot.insights.of("MetricData")
        if not data["metrics"][0]["name"].startswith(ours)
    ] == []


@pytest.mark.slow
async def test_spans_arrive_within_seconds_and_metrics_within_half_a_minute(make_bot: MakeBot) -> None:
    bot = await make_bot("Because.")
    await bot.ask()
    await bot.insights.until(lambda: bool(bot.insights.of("RequestData")), within=6)
    await bot.insights.until(lambda: bool(bot.insights.metric("agent.turns")), within=30)


async def test_the_core_closes_telemetry_last(make_bot: MakeBot) -> None:
    bot = await make_bot()
    settings = {
        "DATABRICKS_BASE_URL": "https://w.example/serving-endpoints",
        "DATABRICKS_MODEL_NAME": "m",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": bot.insights.connection_string,
    }
    core = Core(load_settings(settings))
    with traced(core.telemetry.activity("message")):
        pass
    core.telemetry.answered()
    await core.close()
    assert [request["name"] for request in bot.insights.of("RequestData")] == ["activity message"]


class Kept:
    def __init__(self) -> None:
        self.spans: list[FinishedSpan] = []
        self.measurements: list[Measurement] = []

    def span(self, span: FinishedSpan) -> None:
        self.spans.append(span)

    def measured(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)


def finished(name: str) -> FinishedSpan:
    return FinishedSpan(name, SpanKind.INTERNAL, 1, 2, None, 0, 1, {})


def test_buffered_records_are_passed_on_in_order_and_their_number_is_limited() -> None:
    recorder, kept = Recorder(), Kept()
    recorder.measured(Measurement(TURNS, 1, {}))
    for n in range(5000):
        recorder.span(finished(str(n)))
    recorder.attach(kept)
    recorder.span(finished("last"))
    names = [span.name for span in kept.spans]
    assert names[-3:] == ["4998", "4999", "last"]
    assert names[:-1] == sorted(names[:-1], key=int)
    assert len(names) <= 2049


def test_the_first_failure_of_a_turn_is_its_cause() -> None:
    kept = Kept()
    with traced(TurnSpan("message", kept)) as turn:
        turn.begin(channel="c", conversation="x")
        turn_failed(RateLimitedError("full"))
        turn_failed(ValueError("and then"))
        turn_ended("answered")
    assert kept.spans[0].error == "RateLimitedError"
    assert kept.spans[0].attributes["agent.outcome"] == "failed"


def test_a_turn_that_ends_without_an_outcome_was_cut_off() -> None:
    kept = Kept()
    turn = TurnSpan("message", kept)
    turn.begin(channel="c", conversation="x")
    with suppress(asyncio.CancelledError), traced(turn):
        raise asyncio.CancelledError
    assert (kept.spans[0].error, kept.spans[0].attributes["agent.outcome"]) == ("Cancelled", "failed")


def test_a_wall_clock_that_jumps_does_not_change_how_long_a_turn_took(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    now = iter([10**18, 5 * 10**18, 6 * 10**18])
    monkeypatch.setattr(time, "time_ns", lambda: next(now))
    with traced(TurnSpan("message", kept)):
        pass
    (span,) = kept.spans
    assert span.started_at == 10**18
    assert 0 <= span.ended_at - span.started_at < 10**9


async def test_after_the_end_nothing_more_is_set_up() -> None:
    telemetry = Telemetry(Destination("bot", "1", "here"))
    await telemetry.close()
    telemetry.answered()
    assert await telemetry.check() is False
