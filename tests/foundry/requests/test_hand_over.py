"""Requests whose workers die, stall and end: another one answers, with one value. In virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.foundry.requests.tool_request import KeptValue, ToolRequest
from app.foundry.requests.tool_requests import REQUEST_QUEUE
from tests.fakes.foundry_requests import LEASE_SECONDS, RequestHarness, in_virtual_time, request_of


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
async def test_the_order_stays_when_a_worker_is_killed(harness: RequestHarness) -> None:
    first, second = harness.worker(), harness.worker()
    async with first.killed(request_of(1, conversation="c"), 4):
        await asyncio.sleep(1)
        answering = asyncio.create_task(second.requests.answer(request_of(2, conversation="c")))
        await harness.later(second, 200)
        await answering
    assert harness.calls.made == ["question 1", "question 1", "question 2"]
    assert len(await harness.answers()) == 2


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
