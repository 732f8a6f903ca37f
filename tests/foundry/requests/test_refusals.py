"""What a request is answered with that is too late, cannot be made as it is, or fails. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.foundry.requests.request_answerer import TOO_LATE
from app.foundry.requests.request_reply import EMPTY
from app.foundry.requests.tool_request import KeptValue
from app.foundry.requests.tool_requests import TOO_LONG
from app.foundry.tools.foundry_tool import RefusedCallError
from tests.fakes.foundry_requests import NO_QUESTION, RequestHarness, in_virtual_time, now, request_of


@in_virtual_time
async def test_a_request_older_than_a_run_is_answered_without_asking_anything(harness: RequestHarness) -> None:
    worker = harness.worker()
    await asyncio.sleep(1000)
    for number, age in ((1, 601.0), (2, 590.0)):
        await worker.requests.answer(request_of(number, inserted_at=now() - age))
    assert dict(await harness.answers()) == {"call_1": TOO_LATE, "call_2": "question 2: answer 1"}
    assert await worker.requests.find("ask", "call_1") == KeptValue(TOO_LATE, failed=True)
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
async def test_a_call_that_cannot_be_made_is_refused_without_waiting_for_a_place(harness: RequestHarness) -> None:
    worker = harness.worker(280, max_concurrent=1)
    answering = asyncio.create_task(worker.requests.answer(request_of(1)))
    await asyncio.sleep(1)
    asked_at = now()
    await worker.requests.answer(replace(request_of(2), arguments={}))
    assert now() - asked_at < 1
    assert await harness.answers() == [("call_2", NO_QUESTION)]
    assert harness.telemetry.counted("foundry.requests", outcome="refused") == 1
    await answering


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
        kept = await harness.worker(answer=answer).requests.answer(request_of())
        ((_, value),) = await harness.answers()
        assert kept == await harness.worker().requests.find("ask", "call_1") == KeptValue(value, failed=True)
        assert value.startswith(said)
        assert "SECRET" not in value
        assert ("error id" in value) == (outcome == "failed")
        assert harness.telemetry.counted("foundry.requests", outcome=outcome) == 1

    script(tmp_path)


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
