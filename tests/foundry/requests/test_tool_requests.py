"""Requests of Foundry's agents: each is answered once, and its value is sent and kept. In virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.foundry.requests.kept_values import hashed_id
from app.foundry.requests.request_answerer import NOT_OFFERED
from app.foundry.requests.tool_request import KeptValue, OpenRequest
from app.foundry.requests.tool_requests import LOST
from app.storage.documents import Collection, Document, DocumentKey
from app.storage.queue import Queue
from tests.fakes.foundry_requests import RequestHarness, in_virtual_time, now, request_of


@in_virtual_time
async def test_a_request_is_answered_once_and_its_value_is_sent_and_kept(harness: RequestHarness) -> None:
    worker = harness.worker()
    assert await worker.requests.find("ask", "call_1") is None
    answering = asyncio.create_task(worker.requests.answer(request_of()))
    await asyncio.sleep(2)
    assert await worker.requests.find("ask", "call_1") == OpenRequest()
    value = KeptValue("question 1: answer 1")
    assert await answering == value
    assert await harness.answers() == [("call_1", value.text)]
    assert await harness.worker().requests.find("ask", "call_1") == value
    await harness.later(worker)
    assert harness.telemetry.counted("foundry.requests", outcome="answered", tool="ask") == 1
    assert harness.telemetry.counted("foundry.repeats") == 0


@in_virtual_time
async def test_a_value_that_an_older_version_has_kept_is_no_failure(harness: RequestHarness) -> None:
    key = DocumentKey(Collection("foundry_values"), "ask", hashed_id("call_1"))
    await harness.store.documents().put(Document(key, '{"v": 1, "writer": "w", "text": "It is 7."}'))
    assert await harness.worker().requests.find("ask", "call_1") == KeptValue("It is 7.")


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
    assert (value := await answering) is not None
    # The same id with other arguments is a repeat too.
    assert await second.requests.answer(request_of(query="Another?")) == value
    assert await second.requests.answer(request_of(conversation="elsewhere")) == value
    assert {text for _, text in await harness.answers()} == {value.text}
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
    assert await worker.requests.find("ask", "call_1") == KeptValue(LOST, failed=True)


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
async def test_tools_may_have_the_same_correlation_id(harness: RequestHarness) -> None:
    worker = harness.worker()
    assert await worker.requests.answer(request_of()) == KeptValue("question 1: answer 1")
    not_offered = KeptValue(NOT_OFFERED, failed=True)
    assert await worker.requests.answer(replace(request_of(), tool="ask_data")) == not_offered
    assert await worker.requests.find("ask", "call_1") == KeptValue("question 1: answer 1")
    assert await worker.requests.find("ask_data", "call_1") == not_offered


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
        assert value is not None
        assert await harness.answers() == [("call_1", value.text)]
        assert kept == ["Größe \ufffd\n" * 9_000]
        assert (f" {link}]" in value.text) == (link is not None)

    script(tmp_path)
