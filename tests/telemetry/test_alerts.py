"""What alerts and workbook make of rows that the app itself has sent, by the real exporter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.composition.core import Core
from app.config import load_settings
from app.foundry.requests.request_metrics import (
    poison_received,
    request_begun,
    request_ended,
    request_repeated,
    value_repeated,
)
from app.models.model_errors import RateLimitedError
from app.storage.sqlite.sqlite_queue import SqliteQueue
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.telemetry.turn_span import traced
from app.turns.queue_message import UnreadableMessageError
from tests.fakes.application_insights import ApplicationInsights
from tests.fakes.clock import Clock
from tests.fakes.log_analytics import Row, run, tables_of
from tests.fakes.observed_bot import MakeBot, ObservedBot, observed_bots
from tests.ops.files.deployments import ROOT, query

QUESTIONS = 5


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def make_bot(tmp_path: Path, clock: Clock) -> AsyncIterator[MakeBot]:
    async with observed_bots(tmp_path, clock) as make:
        yield make


def alert(name: str, insights: ApplicationInsights) -> list[Row]:
    return run(query(name), tables_of(insights))


def tile(title: str, insights: ApplicationInsights) -> list[Row]:
    return run(query_of(title), tables_of(insights))


def query_of(title: str) -> str:
    workbook = json.loads((ROOT / "infra" / "workbook.json").read_text(encoding="utf-8"))
    (content,) = [item["content"] for item in workbook["items"] if item["content"].get("title") == title]
    return str(content["query"])


async def ask_all(bot: ObservedBot) -> list[int]:
    asking = (bot.ask(traceparent=None, conversation={"id": str(number)}) for number in range(QUESTIONS))
    return await asyncio.gather(*asking)


async def messages_of(bot: ObservedBot) -> list[bytes]:
    return [taken.body.encode() for taken in await bot.store.queue("turns").receive(32, visibility_timeout=1000)]


async def interrupted(bot: ObservedBot, *gates: asyncio.Event) -> asyncio.Task[list[int]]:
    """All have been asked, and are being answered."""
    asking = asyncio.create_task(ask_all(bot))
    await asyncio.gather(*(gate.wait() for gate in gates))
    return asking


async def test_questions_that_storage_does_not_accept_count_as_failed_turns(make_bot: MakeBot, tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"no database" * 500)
    bot = await make_bot()
    assert await ask_all(bot) == [200] * QUESTIONS
    await bot.telemetry.close()
    assert alert("failures", bot.insights) == [{"FailedPercent": 100.0}]
    assert tile("Failures by kind", bot.insights) == [{"Kind": "StorageError", "Failures": QUESTIONS}]


class Waits:
    """In the place of a reply's next piece: says that the model has been asked, and never goes on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()


async def test_resumed_attempts_do_not_hide_turns_that_fail(make_bot: MakeBot) -> None:
    has_predecessor = [Waits() for _ in range(QUESTIONS)]
    first = await make_bot(*[[each()] for each in has_predecessor])
    asking = await interrupted(first, *(each.reached for each in has_predecessor))
    await first.app.close()
    await asking
    await first.telemetry.close()
    assert alert("failures", first.insights) == [], "none of them has ended"

    second = await make_bot(*[RateLimitedError("full")] * QUESTIONS)
    for message in await messages_of(second):
        await second.app.queue.dispatch(message)
    await second.telemetry.close()
    assert alert("failures", second.insights) == [{"FailedPercent": 100.0}]
    assert tile("Turns that another instance resumed", second.insights) == [{"Turns": QUESTIONS}]
    outcomes = {row["Outcome"]: row["Turns"] for row in tile("Turns by outcome", second.insights)}
    assert outcomes == {"handed over": QUESTIONS, "failed": QUESTIONS}


async def test_a_turn_that_no_worker_ends_raises_an_alert(make_bot: MakeBot, clock: Clock) -> None:
    workers = []
    for number in range(3):
        has_predecessor = Waits()
        bot = await make_bot([has_predecessor()])
        # What they have begun they never end: their clock goes on, and they renew nothing.
        trying = bot.ask() if number == 0 else bot.app.queue.dispatch((await messages_of(bot))[0])
        workers.append(asyncio.create_task(trying))
        await has_predecessor.reached.wait()
        clock.now += 40
    last = await make_bot("Too late.")
    (message,) = await messages_of(last)
    assert alert("given-up", last.insights) == []
    await last.app.queue.dispatch(message)
    await last.telemetry.close()
    assert len(alert("given-up", last.insights)) == 1
    assert tile("Failures by kind", last.insights) == [{"Kind": "AttemptsExhaustedError", "Failures": 1}]
    for worker in workers:
        worker.cancel()
    await asyncio.wait(workers)


async def test_an_instance_that_gets_only_unreadable_messages_raises_an_alert(make_bot: MakeBot) -> None:
    bot = await make_bot()
    with pytest.raises(UnreadableMessageError):
        await bot.app.queue.dispatch(b"nonsense")
    await bot.telemetry.close()
    assert len(alert("poison", bot.insights)) == 1


async def test_turns_without_a_message_on_the_queue_raise_an_alert(
    make_bot: MakeBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise StorageError("the queue is away")

    monkeypatch.setattr(SqliteQueue, "put", away)
    bot = await make_bot(*["Because."] * QUESTIONS)
    assert await ask_all(bot) == [200] * QUESTIONS
    await bot.telemetry.close()
    assert [call.text for call in bot.connector.calls if call.is_message] == ["Because."] * QUESTIONS
    assert alert("failures", bot.insights) == [{"FailedPercent": 0.0}]
    assert alert("queue", bot.insights) == [{"Missing": QUESTIONS}]
    assert tile("Turns that could not be resumed", bot.insights) == [{"Kind": "StorageError", "Turns": QUESTIONS}]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_failed_deletion_of_old_conversations_raises_an_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    async def away(*_: Any, **__: Any) -> int:
        raise StorageError("the table is away")

    if fails:
        monkeypatch.setattr(SqliteStore, "delete_before", away)
    async with ApplicationInsights() as insights:
        settings = {
            "DATABRICKS_BASE_URL": "https://w.example/serving-endpoints",
            "DATABRICKS_MODEL_NAME": "m",
            "DATA_DIR": str(tmp_path),
            "APPLICATIONINSIGHTS_CONNECTION_STRING": insights.connection_string,
        }
        core = Core(load_settings(settings))
        try:
            assert (await core.delete_expired(), fails) == (0, False)
        except StorageError:
            assert fails, "the host is told too"
        await core.close()
        assert bool(alert("retention", insights)) is fails
        (row,) = tile("Deletion of old conversations", insights)
    assert (row["Done"], row["Kind"]) == (not fails, "StorageError" if fails else "")
    assert row["Rows"] == ("" if fails else "0")


async def test_the_error_id_that_a_person_reads_finds_their_turn_and_no_other(make_bot: MakeBot) -> None:
    bot = await make_bot(*[RateLimitedError("full")] * QUESTIONS)
    await ask_all(bot)
    await bot.telemetry.close()
    told = [call.text.partition("error id: ")[2].rstrip(")") for call in bot.connector.calls if call.is_message]
    assert sorted(row["ErrorId"] for row in tile("The last failed turns", bot.insights)) == sorted(told)
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    for error_id in told:
        assert len(error_id) == 8
        rows = run(
            page.partition("```kusto\n")[2].partition("```")[0].replace("<error id>", error_id), tables_of(bot.insights)
        )
        assert [row["Name"] for row in rows if row["Name"]] == ["turn"]
        assert [row["OuterMessage"] for row in rows if row["OuterMessage"]] == ["RateLimitedError"]


@pytest.mark.parametrize("fails", [False, True])
async def test_a_pass_of_the_job_watch_counts_where_it_ended_well(*, fails: bool) -> None:
    async def look() -> str:
        if fails:
            raise StorageError("the table is away")
        return "three failures"

    async with ApplicationInsights() as insights:
        telemetry = Telemetry(Destination("agent", "1", "i", insights.connection_string))
        try:
            assert (await telemetry.job_watch_pass(look()), fails) == ("three failures", False)
        except StorageError:
            assert fails
        await telemetry.close()
        assert bool(alert("job-watch", insights)) is fails


@pytest.mark.parametrize("poison", [False, True])
async def test_requests_from_foundry_are_in_the_workbook_and_poison_raises_an_alert(*, poison: bool) -> None:
    async with ApplicationInsights() as insights:
        telemetry = Telemetry(Destination("agent", "1", "i", insights.connection_string))
        with traced(telemetry.activity("foundry")):
            request_begun("ask", 100.0)
            request_begun("ask", 700.0)
            request_ended("ask", "too late")
            request_repeated("ask")
            value_repeated("ask")
            if poison:
                poison_received("ask_data")
        telemetry.answered()
        await telemetry.close()
        assert len(alert("poison", insights)) == poison
        assert tile("Foundry: messages on poison queues", insights) == [{"Tool": "ask_data", "Messages": 1}] * poison
        requests = tile("Foundry: requests by tool and outcome", insights)
        assert requests == [{"Tool": "ask", "Outcome": "too late", "Requests": 1}]
        repeats = {row["Kind"]: row["Repeats"] for row in tile("Foundry: repeated requests and values", insights)}
        assert repeats == {"request": 1, "value": 1}
        waited = tile("Foundry: seconds that a request had waited", insights)
        assert waited == [{"Average": 400.0, "Longest": 700.0}]


def test_the_backlog_of_foundrys_queues_is_read_from_storages_log() -> None:
    put, deleted = ({"OperationName": name, "StatusText": "Success"} for name in ("PutMessage", "DeleteMessage"))
    at = "https://a.queue.core.windows.net:443/azure-function-ask-input/messages?visibilitytimeout=0"
    other = {**put, "Uri": "https://a.queue.core.windows.net:443/turns/messages"}
    rows = [{**put, "Uri": at}] * 3 + [{**deleted, "Uri": at.replace("messages?", "messages/1?")}, other]
    title = "Foundry: messages put, deleted and still there, by queue"
    assert run(query_of(title), {"StorageQueueLogs": rows}) == [
        {"Queue": "azure-function-ask-input", "Put": 3, "Deleted": 1, "Waiting": 2}
    ]
