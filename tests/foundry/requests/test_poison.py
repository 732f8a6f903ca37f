"""Envelopes that could not be processed: their requests are answered all the same, once. In virtual time."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from app.foundry.requests.kept_values import KeptValues
from app.foundry.requests.tool_request import KeptValue, ToolRequest
from app.foundry.requests.tool_requests import POISONED, REQUEST_QUEUE
from app.storage.queue import ReceivedMessage
from app.storage.storage_errors import StorageError
from tests.fakes.foundry_requests import LEASE_SECONDS, RequestHarness, RequestWorker, in_virtual_time, request_of


async def left_by_a_killed_worker(
    harness: RequestHarness, request: ToolRequest
) -> tuple[RequestWorker, ReceivedMessage]:
    """Another worker, and the envelope that no worker could process."""
    first = harness.worker()
    answering = asyncio.create_task(first.requests.answer(request))
    await asyncio.sleep(2)
    first.wire.cut()
    answering.cancel()
    await asyncio.sleep(LEASE_SECONDS + 2)
    queue = harness.store.queue(REQUEST_QUEUE)
    (envelope,) = await queue.receive(16, visibility_timeout=600)
    await queue.delete(envelope.receipt)
    return harness.worker(), envelope


async def refuse(worker: RequestWorker, body: str, id: str = "m1") -> None:
    await worker.requests.refuse_poisoned(body.encode(), id)


def test_a_request_whose_envelope_is_poison_is_answered_with_a_sentence_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        worker, envelope = await left_by_a_killed_worker(harness, request_of())
        await refuse(worker, envelope.body)
        assert await harness.answers() == [("call_1", POISONED)]
        assert await worker.requests.find("ask", "call_1") == KeptValue(POISONED, failed=True)
        assert len(harness.calls.made) == 1, "the tool was called again"
        await refuse(worker, envelope.body)
        await harness.later(worker)
        assert await harness.answers() == []
        assert harness.telemetry.counted("foundry.poison", tool="ask") == 2

    script(tmp_path)
    logged = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert logged == ["Message m1 could not be processed and is on the poison queue of foundry-requests"] * 2


@in_virtual_time
async def test_a_value_that_was_kept_before_its_envelope_was_poison_is_the_one_that_is_sent(
    harness: RequestHarness,
) -> None:
    worker, envelope = await left_by_a_killed_worker(harness, request_of())
    await KeptValues(harness.store.documents()).keep("ask", "call_1", KeptValue("It is 7."))
    await refuse(worker, envelope.body)
    assert await harness.answers() == [("call_1", "It is 7.")]
    assert harness.telemetry.counted("foundry.repeats", kind="value") == 1


@in_virtual_time
async def test_a_request_that_another_worker_has_is_left_to_it(harness: RequestHarness) -> None:
    worker, envelope = await left_by_a_killed_worker(harness, request_of())
    resuming = asyncio.create_task(harness.worker().requests.process_message(envelope.body.encode()))
    await asyncio.sleep(1)
    await refuse(worker, envelope.body)
    assert await harness.answers() == []
    await resuming
    await harness.later(worker)
    assert await harness.answers() == [("call_1", "question 1: answer 2")]


@in_virtual_time
async def test_a_request_that_waits_for_an_earlier_one_is_answered_after_it(harness: RequestHarness) -> None:
    holder = harness.worker(seconds=100)
    earlier = asyncio.create_task(holder.requests.answer(request_of(1, conversation="c")))
    await asyncio.sleep(3)
    worker, envelope = await left_by_a_killed_worker(harness, request_of(2, conversation="c"))
    await refuse(worker, envelope.body)
    await harness.later(worker, 200)
    await earlier
    assert [id for id, _ in sorted(await harness.answers())] == ["call_1", "call_2"]
    assert harness.calls.made == ["question 1", "question 2"]


@in_virtual_time
async def test_while_storage_is_away_the_envelope_stays_poison_and_is_answered_later(harness: RequestHarness) -> None:
    worker, envelope = await left_by_a_killed_worker(harness, request_of())

    async def refused(*_: object, **__: object) -> Any:
        raise StorageError("ServerBusy")

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(harness.store, "find", refused)
        with pytest.raises(StorageError):
            await refuse(worker, envelope.body)
    await harness.later(worker, 100)
    assert await harness.answers() == [], "the envelope was on both queues"
    await refuse(worker, envelope.body)
    assert await harness.answers() == [("call_1", POISONED)]


@in_virtual_time
async def test_a_worker_that_ends_hands_the_request_over(harness: RequestHarness) -> None:
    worker, envelope = await left_by_a_killed_worker(harness, request_of())
    refusing = asyncio.create_task(refuse(worker, envelope.body))
    await asyncio.sleep(0.1)
    refusing.cancel()
    await asyncio.wait([refusing])
    assert refusing.cancelled(), "the host would delete the message"
    await harness.later(harness.worker())
    assert [id for id, _ in await harness.answers()] == ["call_1"]


def _changed(envelope: str, **members: object) -> str:
    return json.dumps(json.loads(envelope) | members)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "SECRET",
        lambda _: "{",
        lambda _: "\x00\ufffd",
        lambda envelope: _changed(envelope, v=2),
        lambda envelope: _changed(envelope, kind="SECRET"),
        lambda envelope: _changed(envelope, activity=7),
        lambda envelope: _changed(envelope, payload='{"v": 2, "correlation_id": "SECRET"}'),
        lambda envelope: _changed(envelope, payload="SECRET"),
    ],
)
def test_an_envelope_that_no_version_can_read_is_dropped_with_its_messages_id(
    damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        worker, envelope = await left_by_a_killed_worker(harness, request_of())
        await refuse(worker, damage(envelope.body), "m7")
        await harness.later(worker, 10)
        assert await harness.answers() == []
        assert harness.telemetry.counted("foundry.poison") == 1
        assert harness.telemetry.counted("foundry.requests", outcome="dropped") == 1

    script(tmp_path)
    dropped = "Message m7 on the poison queue of foundry-requests is dropped, without an answer: "
    assert dropped in caplog.text
    assert "SECRET" not in caplog.text
