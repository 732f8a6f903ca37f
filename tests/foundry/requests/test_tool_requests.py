"""Requests of Foundry's agents, answered once though workers die, stall and get messages twice; in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.foundry.requests.request_answerer import NOT_OFFERED, TOO_LATE
from app.foundry.requests.request_reply import EMPTY
from app.foundry.requests.tool_request import KeptValue, ToolRequest
from app.foundry.requests.tool_requests import LOST, REQUEST_QUEUE, TOO_LONG
from app.foundry.tools.foundry_tool import RefusedCallError
from app.storage.queue import Queue
from tests.fakes.foundry_requests import LEASE_SECONDS, RequestHarness, in_virtual_time, now, request_of


@in_virtual_time
async def test_a_request_is_answered_once_and_its_value_is_sent_and_kept(harness: RequestHarness) -> None:
    worker = harness.worker()
    assert await worker.requests.find("ask", "call_1") is None
    answering = asyncio.create_task(worker.requests.answer(request_of()))
    await asyncio.sleep(2)
    assert await worker.requests.find("ask", "call_1") == KeptValue(None)
    value = await answering
    assert value == "question 1: answer 1"
    assert await harness.answers() == [("call_1", value)]
    assert await harness.worker().requests.find("ask", "call_1") == KeptValue(value)
    await harness.later(worker)
    assert harness.telemetry.counted("foundry.requests", outcome="answered", tool="ask") == 1
    assert harness.telemetry.counted("foundry.repeats") == 0


@in_virtual_time
async def test_a_value_that_foundry_does_not_fetch_lives_as_long_as_a_run(harness: RequestHarness) -> None:
    worker = harness.worker()
    for number in range(2):
        await worker.requests.answer(request_of(number))
        await asyncio.sleep(599 if number else 601)
    assert [id for id, _ in await harness.answers()] == ["call_1"]


@in_virtual_time
async def test_an_output_queue_is_opened_once(harness: RequestHarness) -> None:
    worker, opened = harness.worker(), list[str]()
    open_output = worker.requests._storage.open_output

    def noted(tool: str) -> Queue:
        opened.append(tool)
        return open_output(tool)

    worker.requests._storage = replace(worker.requests._storage, open_output=noted)
    await asyncio.gather(*(worker.requests.answer(request_of(number)) for number in range(9)))
    assert opened == ["ask"]
    assert len(await harness.answers()) == 9


@in_virtual_time
async def test_a_value_that_is_not_to_be_sent_is_only_kept(harness: RequestHarness) -> None:
    worker = harness.worker()
    await worker.requests.answer(replace(request_of(), value_is_sent=False))
    assert await harness.answers() == []
    assert await worker.requests.find("ask", "call_1") == KeptValue("question 1: answer 1")


@in_virtual_time
async def test_a_message_that_comes_again_is_counted_and_changes_nothing(harness: RequestHarness) -> None:
    first, second = harness.worker(), harness.worker()
    answering = asyncio.create_task(first.requests.answer(request_of()))
    await asyncio.sleep(1)
    assert await second.requests.answer(request_of()) is None
    value = await answering
    # The same id with other arguments is a repeat too.
    assert await second.requests.answer(request_of(query="Another?")) == value
    assert await second.requests.answer(request_of(conversation="elsewhere")) == value
    assert {text for _, text in await harness.answers()} == {value}
    assert harness.telemetry.counted("foundry.repeats", kind="request", tool="ask") == 2


@in_virtual_time
async def test_a_message_that_comes_after_its_value_was_deleted_gets_no_second_one(
    harness: RequestHarness,
) -> None:
    worker = harness.worker()
    await worker.requests.answer(request_of())
    await asyncio.sleep(3 * 24 * 3600)
    await harness.store.documents().delete_expired()
    assert await worker.requests.answer(request_of(inserted_at=now())) is None
    assert len(harness.calls.made) == 1
    assert await worker.requests.find("ask", "call_1") == KeptValue(LOST)


def _kill_moments() -> list[float]:
    # A call of storage takes 10 ms here: it is recorded with the first ones, and kept, sent and closed after the tool.
    return [0.003, 0.007, 0.012, 0.5, *(round(4.005 + 0.004 * step, 3) for step in range(11))]


@pytest.mark.parametrize("moment", _kill_moments(), ids=str)
def test_whenever_its_worker_is_killed_a_request_is_answered_within_a_minute_and_with_one_value(
    moment: float, tmp_path: Path
) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        first, second, request = harness.worker(), harness.worker(), request_of()
        async with first.killed(request, moment):
            delivered_again = asyncio.create_task(_deliver_again(second.requests.answer, request))
            await harness.later(second, 60)
            sent = await harness.answers()
            if moment > 0.01:
                assert [id for id, _ in sent] == ["call_1"] * len(sent) != [], f"not answered at {moment}"
            await harness.later(second, 700)
            await delivered_again
        sent += await harness.answers()
        assert len(set(sent)) == 1, sent
        assert len(sent) <= 2, sent
        # What was kept may have been sent, too.
        assert len(sent) - 1 <= harness.telemetry.counted("foundry.repeats", kind="value") <= 1

    script(tmp_path)


async def _deliver_again(answer: Any, request: ToolRequest) -> None:
    """As Azure's host does, ten minutes after it took the message."""
    await asyncio.sleep(600)
    await answer(request)


@in_virtual_time
async def test_a_worker_that_stalls_and_wakes_sends_no_other_value(harness: RequestHarness) -> None:
    first, second = harness.worker(), harness.worker()
    answering = asyncio.create_task(first.requests.answer(request_of()))
    await asyncio.sleep(2)
    first.wire.cut()
    await harness.later(second, 100)
    first.wire.join()
    await asyncio.wait([answering], timeout=100)
    await harness.later(second, 100)
    assert len(set(await harness.answers())) == 1


@in_virtual_time
async def test_a_worker_that_ends_hands_its_request_over_at_once(harness: RequestHarness) -> None:
    first, second = harness.worker(), harness.worker()
    answering = asyncio.create_task(first.requests.answer(request_of()))
    await asyncio.sleep(2)
    answering.cancel()
    await asyncio.wait([answering])
    assert answering.cancelled()
    await harness.later(second, LEASE_SECONDS / 3)
    assert [id for id, _ in await harness.answers()] == ["call_1"]


@in_virtual_time
async def test_a_worker_that_ends_hands_over_what_it_had_from_the_queue(harness: RequestHarness) -> None:
    first, second, third = harness.worker(), harness.worker(), harness.worker()
    async with first.killed(request_of(), 2):
        await asyncio.sleep(LEASE_SECONDS + 1)
        (message,) = await harness.store.queue(REQUEST_QUEUE).receive(16, visibility_timeout=600)
        resuming = asyncio.create_task(second.requests.process_message(message.body.encode()))
        await asyncio.sleep(2)
        await second.requests.close()
        assert resuming.done()
        assert resuming.exception() is not None, "the host would delete the message"
        await harness.later(third, LEASE_SECONDS / 3)
    assert len(await harness.answers()) == 1


@in_virtual_time
async def test_a_request_older_than_a_run_is_answered_without_asking_anything(harness: RequestHarness) -> None:
    worker = harness.worker()
    await asyncio.sleep(1000)
    for number, age in ((1, 601.0), (2, 590.0)):
        await worker.requests.answer(request_of(number, inserted_at=now() - age))
    assert dict(await harness.answers()) == {"call_1": TOO_LATE, "call_2": "question 2: answer 1"}
    assert harness.telemetry.counted("foundry.requests", outcome="too late") == 1
    assert harness.telemetry.counted("foundry.request.age") == pytest.approx(590, abs=1)


@in_virtual_time
async def test_a_request_whose_worker_was_killed_may_be_too_late_for_the_next_one(harness: RequestHarness) -> None:
    await asyncio.sleep(1000)
    first, second = harness.worker(), harness.worker()
    async with first.killed(request_of(inserted_at=now() - 580), 2):
        await harness.later(second, 60)
    assert await harness.answers() == [("call_1", TOO_LATE)]
    assert len(harness.calls.made) == 1


@in_virtual_time
async def test_a_request_that_waits_too_long_for_its_place_is_too_late(harness: RequestHarness) -> None:
    worker = harness.worker(280, max_concurrent=1)
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(worker.requests.answer(request_of(number)))
    texts = dict(await harness.answers())
    assert [texts[f"call_{number}"] == TOO_LATE for number in range(3)] == [False, False, False]
    assert texts["call_3"] == TOO_LATE
    assert len(harness.calls.made) == 3


@in_virtual_time
async def test_no_more_tools_are_called_at_a_time_than_allowed(harness: RequestHarness) -> None:
    worker = harness.worker(max_concurrent=3)
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(worker.requests.answer(request_of(number)))
    assert harness.calls.most == 3
    assert len(await harness.answers()) == 20


@in_virtual_time
async def test_requests_of_one_conversation_are_answered_one_at_a_time_by_when_they_were_put_on_the_queue(
    harness: RequestHarness,
) -> None:
    await asyncio.sleep(1000)
    workers, began = [harness.worker(seconds=3) for _ in range(3)], now() - 300
    order = [7, 2, 5, 0, 8, 3, 6, 1, 4]
    async with asyncio.TaskGroup() as group:
        for place, number in enumerate(order):
            # Each comes to a worker in another order than they were put there, all of them long ago.
            request = request_of(number, conversation="c", inserted_at=began + number)
            group.create_task(workers[place % 3].requests.answer(request))
            group.create_task(workers[place % 3].requests.answer(request_of(100 + number)))
    assert [each for each in harness.calls.made if len(each) < 12] == [f"question {number}" for number in range(9)]
    spans = sorted(harness.calls.spans[f"question {number}"] for number in range(9))
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans)), "two at a time"
    # The others did not wait for them.
    assert max(harness.calls.spans[f"question {100 + number}"][1] for number in range(9)) < spans[3][0]


@in_virtual_time
async def test_the_order_stays_when_a_worker_is_killed(harness: RequestHarness) -> None:
    first, second = harness.worker(), harness.worker()
    async with first.killed(request_of(1, conversation="c"), 4):
        await asyncio.sleep(1)
        answering = asyncio.create_task(second.requests.answer(request_of(2, conversation="c")))
        await harness.later(second, 200)
        await answering
    assert harness.calls.made == ["question 1", "question 1", "question 2"]
    assert len(await harness.answers()) == 2


async def _refuse(_: Mapping[str, Any]) -> str:
    raise RefusedCallError("Ask for ten things at most.")


async def _fail(_: Mapping[str, Any]) -> str:
    raise ValueError("SECRET")


async def _say_nothing(_: Mapping[str, Any]) -> str:
    return " \n"


async def _never(_: Mapping[str, Any]) -> str:
    await asyncio.sleep(10_000)
    return ""


@pytest.mark.parametrize(
    ("answer", "said", "outcome"),
    [
        (_refuse, "Ask for ten things at most.", "refused"),
        (_say_nothing, EMPTY, "answered"),
        (_fail, "Something went wrong on our side.", "failed"),
        (_never, "The answer took longer than allowed.", "failed"),
    ],
)
def test_a_failure_is_answered_with_a_sentence(answer: Any, said: str, outcome: str, tmp_path: Path) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        await harness.worker(answer=answer).requests.answer(request_of())
        ((_, value),) = await harness.answers()
        assert value.startswith(said)
        assert "SECRET" not in value
        assert ("error id" in value) == (outcome == "failed")
        assert harness.telemetry.counted("foundry.requests", outcome=outcome) == 1

    script(tmp_path)


@in_virtual_time
async def test_tools_may_have_the_same_correlation_id(harness: RequestHarness) -> None:
    worker = harness.worker()
    assert await worker.requests.answer(request_of()) == "question 1: answer 1"
    assert await worker.requests.answer(replace(request_of(), tool="ask_data")) == NOT_OFFERED
    assert await worker.requests.find("ask", "call_1") == KeptValue("question 1: answer 1")
    assert await worker.requests.find("ask_data", "call_1") == KeptValue(NOT_OFFERED)


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("arguments", [{"query": "x" * 40_000}, _nested(100_000)], ids=["long", "deep"])
def test_arguments_that_cannot_be_recorded_are_refused_in_words(arguments: dict[str, Any], tmp_path: Path) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        await harness.worker().requests.answer(replace(request_of(), arguments=arguments))
        assert await harness.answers() == [("call_1", TOO_LONG)]

    script(tmp_path)


@pytest.mark.parametrize(
    "id", ["x" * 8000, "half \ud83d a pair", '\x00\x1f"\\/ ü 😀', " "], ids=["long", "half", "odd", "blank"]
)
def test_any_correlation_id_comes_back_as_it_was_even_from_another_worker(id: str, tmp_path: Path) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        first, second = harness.worker(), harness.worker()
        async with first.killed(replace(request_of(), correlation_id=id), 2):
            await harness.later(second, 60)
        assert [each for each, _ in await harness.answers()] == [id]
        assert await second.requests.find("ask", id) == KeptValue("question 1: answer 2")

    script(tmp_path)


@pytest.mark.parametrize("link", [None, "https://a.example/answer.md?sig=1"])
def test_a_value_that_is_too_long_is_shortened_once_with_a_link_where_there_is_one(
    link: str | None, tmp_path: Path
) -> None:
    kept: list[str] = []

    async def link_to(text: str) -> str | None:
        kept.append(text)
        return link

    async def answer(_: Mapping[str, Any]) -> str:
        return "Größe \ud83d\n" * 9_000

    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        worker = harness.worker(answer=answer)
        worker.requests._link_to = link_to
        value = await worker.requests.answer(request_of())
        assert await harness.answers() == [("call_1", value)]
        assert kept == ["Größe \ufffd\n" * 9_000]
        assert value is not None
        assert (f" {link}]" in value) == (link is not None)

    script(tmp_path)
