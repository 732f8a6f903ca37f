"""What the benchmarks conclude from what they saw, and that their stand-ins speak the protocols."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionResetError, ClientSession, web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import __main__ as command
from benchmarks.fakes import answer_tokens, application
from benchmarks.figures import FIGURES, Budget, median_and_p95, percentile
from benchmarks.load_records import ConversationType, LoadPlan, LoadRun, SentActivity, TurnTiming
from benchmarks.loop_watch import LoopDelay
from benchmarks.measure import MeasuredFigures
from benchmarks.pacing import breaches
from benchmarks.process import OURS, ROOT, SUBJECTS, Subject, running, running_fakes
from benchmarks.relay import Relay, RelayedRequest, relayed
from benchmarks.report import Machine, Results, table
from benchmarks.storage_overhead import on_azurite, round_trips
from benchmarks.teams_activities import message, question

Client = TestClient[web.Request, web.Application]


def sent(arrived: float, *, answered: float | None = None, type: str = "typing", text: str = "") -> SentActivity:
    return SentActivity(arrived, arrived + 0.01 if answered is None else answered, "POST", type, None, text)


def a_turn(*sends: SentActivity, last_token: float | None = 10.0, expected: str = "yes") -> TurnTiming:
    return TurnTiming("c", 1, expected, posted=9.0, status=200, last_token=last_token, sends=list(sends))


def test_a_turn_counts_as_answered_only_with_all_of_what_the_model_said() -> None:
    assert a_turn(sent(9.0), sent(10.0, type="message", text="oh yes.")).answered
    assert not a_turn(sent(10.0, type="message", text="Something went wrong.")).answered
    assert not a_turn(sent(10.0, type="typing", text="yes")).answered


def test_a_turn_whose_call_was_refused_is_not_answered() -> None:
    assert not replace(a_turn(sent(10.0, type="message", text="yes")), status=500).answered


def test_a_run_survives_the_way_from_one_process_to_the_other() -> None:
    run = LoadRun([a_turn(sent(9.5), sent(10.5, type="message", text="yes"))], driver_lag_seconds=0.001)
    assert LoadRun.from_json(json.loads(json.dumps(run.to_json()))) == run


@given(st.lists(st.integers(-1000, 1000), min_size=1), st.floats(0.01, 1.0))
def test_at_least_the_given_share_of_values_is_within_a_percentile(values: list[int], share: float) -> None:
    found = percentile([float(value) for value in values], share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_the_95th_percentile_of_a_hundred_values_is_the_95th() -> None:
    assert median_and_p95([float(value) for value in range(1, 101)]) == (50.5, 95.0)


def test_a_budget_names_the_ratio_and_whether_it_is_kept() -> None:
    values = {"cpu_short": {"floor": 4.0, "plain bot": 40.0, "ours": 10.0}}
    assert Budget(2.5, "floor").verdict("cpu_short", values) == "met (2.50)"
    assert Budget(0.25, "plain bot", strict=True).verdict("cpu_short", values) == "missed (0.25)"


def test_a_budget_may_be_measured_against_another_figure() -> None:
    values = {"cold_sign": {"ours": 1000.0}, "cold_answer": {"plain bot": 2000.0}}
    assert Budget(0.6, "plain bot", figure="cold_answer").verdict("cold_sign", values) == "met (0.50)"


def test_a_budget_without_a_neighbour_in_the_same_run_is_not_judged() -> None:
    assert Budget(2.5, "floor").verdict("cpu_short", {"cpu_short": {"ours": 10.0}}) == "not measured"


def test_a_budget_may_be_what_is_added_to_a_neighbour() -> None:
    values = {"words_median": {"floor": 48.0, "ours": 55.5}}
    budget = Budget(15, "floor", added=True)
    assert (str(budget), budget.verdict("words_median", values)) == ("≤ floor + 15", "met (+7.5)")
    assert Budget(5, "floor", added=True).verdict("words_median", values) == "missed (+7.5)"


def test_an_absolute_budget_of_nothing_is_met_by_nothing_alone() -> None:
    assert Budget(0).verdict("breaches", {"breaches": {"ours": 0.0}}) == "met"
    assert Budget(0).verdict("breaches", {"breaches": {"ours": 1.0}}) == "missed"


def test_every_budget_refers_to_figures_that_exist() -> None:
    for figure in FIGURES.values():
        for budget in figure.budgets:
            assert budget.figure is None or budget.figure in FIGURES
            assert budget.against in (None, "floor", "plain bot") or (budget.against == "ours" and budget.figure)


def test_the_table_shows_each_measured_figure_with_its_budgets_and_leaves_out_the_rest() -> None:
    lines = table({"cpu_short": {"floor": 4.0, "plain bot": 40.0, "ours": 8.0}}).splitlines()
    assert len(lines) == 3
    assert "CPU per turn, 5 tokens (ms)" in lines[1]
    assert lines[1].endswith("≤ 2.5 × floor       met (2.00)")
    assert lines[2].endswith("< 0.25 × plain bot  met (0.20)")


def test_rounds_are_reported_by_their_median() -> None:
    results = Results(Machine(2, "a processor", "3.11", "Linux", 0.0), quick=True)
    for value in (3.0, 100.0, 4.0):
        results.add("ours", MeasuredFigures({"cpu_short": value}))
    assert results.medians() == {"cpu_short": {"ours": 4.0}}


def test_elsewhere_than_on_linux_the_benchmarks_say_that_they_need_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("sys.argv", ["benchmarks", "--quick"])
    assert command.main() == 0
    assert "need Linux" in capsys.readouterr().out


def test_an_unknown_measurement_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "spede"])
    with pytest.raises(SystemExit):
        command.main()
    assert "no such measurement: spede" in capsys.readouterr().err


def test_a_question_in_a_group_mentions_the_bot() -> None:
    activity = message("groupChat", "19:a@thread.v2", question("0123456789ab"), "http://127.0.0.1:1/")
    mention = next(entity for entity in activity["entities"] if entity["type"] == "mention")
    assert activity["text"].startswith(mention["text"])
    assert mention["mentioned"] == activity["recipient"]
    assert activity["conversation"]["isGroup"]


@pytest.fixture
async def fakes() -> AsyncIterator[Client]:
    async with TestClient(TestServer(application())) as client:
        yield client


async def test_the_fake_endpoint_streams_each_token_and_then_says_that_it_is_done(fakes: Client) -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": question("0123456789ab")}]}
    async with fakes.post("/serving-endpoints/chat/completions", json=body) as response:
        lines = [line for line in (await response.text()).split("\n\n") if line]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert lines[-1] == "data: [DONE]"
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks[:-1]] == answer_tokens(
        LoadPlan("", "").tokens
    )
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_the_fake_endpoint_ignores_that_its_caller_has_ended(
    fakes: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone(*_: object) -> None:
        raise ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(web.StreamResponse, "write", gone)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
    async with fakes.post("/serving-endpoints/chat/completions", json=body) as response:
        await response.read()
    assert caplog.text == ""


async def test_the_fake_workspace_describes_a_chat_endpoint_that_is_ready(fakes: Client) -> None:
    async with fakes.get("/api/2.0/serving-endpoints/m") as response:
        assert await response.json() == {"name": "m", "task": "llm/v1/chat", "state": {"ready": "READY"}}


async def test_the_fake_connector_gives_an_id_to_a_new_activity_and_none_to_a_streams_update(fakes: Client) -> None:
    path = "/v3/conversations/c/activities/in"
    info = {"type": "streaminfo", "streamType": "streaming", "streamSequence": 1}
    async with fakes.post(path, json={"type": "typing", "text": "a", "entities": [info]}) as response:
        assert response.status == 201
        stream_id = (await response.json())["id"]
    later = info | {"streamId": stream_id, "streamSequence": 2}
    async with fakes.post(path, json={"type": "typing", "text": "a b", "entities": [later]}) as response:
        assert (response.status, await response.json()) == (202, {})


async def test_the_load_driver_notes_everything_that_happened_in_a_turn(fakes: Client) -> None:
    async def bot(request: web.Request) -> web.Response:
        activity = await request.json()
        body = {"stream": True, "messages": [{"role": "user", "content": activity["text"]}]}
        await fakes.post("/serving-endpoints/chat/completions", json=body)
        path = f"/v3/conversations/{activity['conversation']['id']}/activities"
        await fakes.post(path, json={"type": "typing"})
        await fakes.post(path, json={"type": "message", "text": "".join(answer_tokens(3))})
        return web.Response(status=202)

    app = web.Application()
    app.add_routes([web.post("/api/messages", bot)])
    async with TestServer(app) as server:
        plan = LoadPlan(str(server.make_url("/api/messages")), "test", tokens=3, first_delay=0, gap=0, turn_limit=5)
        async with asyncio.timeout(10), fakes.post("/control/run", json=asdict(plan)) as response:
            [turn] = LoadRun.from_json(await response.json()).turns
    assert turn.answered
    assert turn.status == 202
    assert [send.type for send in turn.sends] == ["typing", "message"]
    assert turn.model_asked is not None
    assert turn.last_token is not None
    assert turn.posted <= turn.model_asked <= turn.last_token <= turn.sends[0].arrived <= turn.sends[1].arrived


async def test_the_fakes_call_for_queries_at_once_and_answer_them_when_they_end(fakes: Client) -> None:
    async def bot(request: web.Request) -> web.Response:
        activity = await request.json()
        messages: list[dict[str, Any]] = [{"role": "user", "content": activity["text"]}]
        completions = "/serving-endpoints/chat/completions"
        async with fakes.post(completions, json={"stream": True, "messages": messages}) as response:
            queries = re.findall(r"SELECT [^\\]+", await response.text())
        for each in queries:
            async with fakes.post("/api/2.0/sql/statements", json={"statement": each}) as response:
                statement = (await response.json())["statement_id"]
            async with fakes.get(f"/api/2.0/sql/statements/{statement}") as response:
                rows = (await response.json())["result"]["data_array"]
            messages.append({"role": "tool", "tool_call_id": each, "content": str(len(rows))})
        await fakes.post(completions, json={"stream": True, "messages": messages})
        answer = {"type": "message", "text": "".join(answer_tokens(5))}
        await fakes.post(f"/v3/conversations/{activity['conversation']['id']}/activities", json=answer)
        assert [each["content"] for each in messages[1:]] == ["7", "7"]
        return web.Response(status=202)

    app = web.Application()
    app.add_routes([web.post("/api/messages", bot)])
    async with TestServer(app) as server:
        target = str(server.make_url("/api/messages"))
        plan = LoadPlan(target, "test", first_delay=0, gap=0, turn_limit=5, tool_seconds=(0.02, 0.03), rows=7)
        async with asyncio.timeout(10), fakes.post("/control/run", json=asdict(plan)) as response:
            [turn] = LoadRun.from_json(await response.json()).turns
    assert turn.answered
    assert turn.tools_called is not None
    assert turn.tools_answered is not None
    assert turn.tools_answered - turn.tools_called >= 0.05


async def test_a_bot_that_does_not_listen_leaves_its_turn_unanswered(fakes: Client, unused_tcp_port: int) -> None:
    plan = LoadPlan(f"http://127.0.0.1:{unused_tcp_port}/api/messages", "test", turn_limit=0.1)
    async with fakes.post("/control/run", json=asdict(plan)) as response:
        [turn] = LoadRun.from_json(await response.json()).turns
    assert (turn.status, turn.answered) == (0, False)


async def test_the_relay_records_each_request_once_however_many_a_connection_carries(fakes: Client) -> None:
    assert fakes.port is not None
    body = json.dumps({"model": "m", "messages": [], "filler": "POST /inner HTTP/1.1\r\n" * 20_000})
    with relayed({"model": fakes.port}) as relay:
        async with ClientSession(f"http://127.0.0.1:{relay.ports['model']}") as session:
            for _ in range(2):
                async with session.post("/serving-endpoints/chat/completions", data=body) as response:
                    assert response.status == 400
            async with session.get("/api/2.0/serving-endpoints/m") as response:
                assert (await response.json())["name"] == "m"
    expected = [("POST", "/serving-endpoints/chat/completions")] * 2 + [("GET", "/api/2.0/serving-endpoints/m")]
    assert [(each.method, each.path) for each in relay.requests] == expected


def test_round_trips_of_a_turn_end_with_the_models_request_and_leave_out_the_hosts_polling() -> None:
    turn = replace(a_turn(), posted=1.0, model_asked=2.0)
    before, at_once = (
        RelayedRequest(0.9, "table", "POST", "/$batch"),
        RelayedRequest(1.1, "queue", "POST", "/turns/messages"),
    )
    polled, later = (
        RelayedRequest(1.2, "queue", "GET", "/turns/messages"),
        RelayedRequest(2.1, "table", "POST", "/$batch"),
    )
    assert round_trips(turn, Relay(requests=[before, at_once, polled, later])) == [at_once]


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc: Linux only")


@needs_linux
def test_ctrl_c_ends_the_benchmarks_with_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["benchmarks", "--quick", "turns"])
    monkeypatch.setattr(command, "_run", interrupted)
    assert command.main() == 130
    assert capsys.readouterr().out.strip() == "Stopped; nothing was saved."


@needs_linux
def test_a_blocking_call_on_the_event_loop_is_recorded_with_its_place_in_the_code(tmp_path: Path) -> None:
    (tmp_path / "blocking_host.py").write_text(
        "import asyncio, time\n"
        "async def answer():\n"
        "    await asyncio.sleep(0)\n"
        "    time.sleep(0.05)\n"
        "    await asyncio.sleep(0.02)\n"
        "asyncio.run(answer())\n"
    )
    notes = tmp_path / "held"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "BENCH_LOOP_WATCH": str(notes)}
    command_line = [sys.executable, "-m", "benchmarks.loop_watch", "blocking_host"]
    subprocess.run(command_line, cwd=tmp_path, env=environment, check=True, timeout=30)
    held = [LoopDelay(**json.loads(line)) for line in notes.read_text().splitlines()]
    longest = max((each for each in held if each.kind == "callback"), key=lambda each: each.held)
    assert longest.held >= 0.045
    assert "blocking_host.py:4 answer" in longest.where
    assert any(each.kind == "tick" and each.held > 0.02 for each in held)


@needs_linux
@pytest.mark.proof
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_what_is_measured_answers_and_keeps_the_pacing(subject: Subject) -> None:
    with running_fakes() as fakes, running(subject, fakes) as bot:
        [personal] = bot.run(LoadPlan("", "test", tokens=30, gap=0.05, connect_for=30.0)).turns
        [group] = bot.run(LoadPlan("", "test", conversation_type="groupChat")).turns
        assert bot.cpu_seconds() > 0
        assert 10 < bot.peak_memory_mb() < 1000
    assert breaches(personal.sends) == 0
    begins_with = "informative" if subject.name == "plain bot" else None
    assert (personal.sends[0].stream_type, personal.sends[-1].stream_type) == (begins_with, "final")
    assert personal.first_words is not None
    assert personal.first_words.stream_type == "streaming"
    assert [send.type for send in group.sends] == ["typing", "message"]


@needs_linux
@pytest.mark.proof
def test_without_storage_the_same_bot_answers_the_same() -> None:
    forgetful = replace(OURS, wrapper=("benchmarks.no_storage",))
    with running_fakes() as fakes, running(forgetful, fakes) as bot:
        bot.run(LoadPlan("", "test", conversation_type="groupChat", turns=2, pause=0, connect_for=30.0))


@needs_linux
@pytest.mark.proof
@pytest.mark.parametrize("conversation_type", ["groupChat", "personal"])
def test_a_turn_makes_three_round_trips_to_azurite_before_the_model_is_asked(
    conversation_type: ConversationType,
) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to install Azurite with")
    with running_fakes() as fakes, on_azurite(OURS, fakes) as (bot, relay):
        bot.run(LoadPlan("", "warm-up", conversation_type="groupChat", connect_for=30.0))
        turns = bot.run(LoadPlan("", "test", conversation_type=conversation_type, turns=3, pause=0.02)).turns
    # The first one saves the conversation's reference too, which it does not wait for.
    for turn in turns[1:]:
        made = [(each.service, each.method) for each in round_trips(turn, relay)]
        assert sorted(made) == [("queue", "POST"), ("table", "GET"), ("table", "POST")]
