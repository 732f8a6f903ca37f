"""What becomes of requests while storage fails: none is lost, and what may come twice is counted. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.foundry.requests.tool_request import KeptValue, OpenRequest
from app.foundry.requests.tool_requests import LOST
from app.storage.storage_errors import StorageError
from app.turns.reply import UndeliveredError
from tests.fakes.foundry_requests import LEASE_SECONDS, RequestHarness, in_virtual_time, now, request_of


@pytest.mark.parametrize("queue_fails", [False, True])
def test_a_request_without_an_envelope_is_left_to_the_hosts_message(queue_fails: bool, tmp_path: Path) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        worker, recorded = harness.worker(), list[float]()
        if queue_fails:
            worker.requests._storage.turns.queue.put = _RefusingQueue(None, until=now() + 100).put  # type: ignore[method-assign]
        answering = asyncio.create_task(worker.requests.answer(request_of(), recorded=lambda: recorded.append(now())))
        await asyncio.sleep(2)
        answering.cancel()
        await asyncio.wait([answering])
        assert bool(recorded) is not queue_fails
        await harness.later(harness.worker(), 60)
        assert len(await harness.answers()) == (not queue_fails)
        # As the host does with the message that was not recorded.
        await harness.worker().requests.answer(request_of())
        assert len(await harness.answers()) == queue_fails

    script(tmp_path)


@in_virtual_time
async def test_storage_that_fails_in_a_tool_costs_time_and_in_the_end_a_sentence(harness: RequestHarness) -> None:
    failures = [StorageError("ServerBusy")] * 2

    async def answer(_: Mapping[str, Any]) -> str:
        if failures:
            raise failures.pop()
        return "at last"

    worker = harness.worker(answer=answer)
    await worker.requests.answer(request_of())
    await harness.later(worker)
    assert await harness.answers() == [("call_1", "at last")]


@in_virtual_time
async def test_a_request_that_is_neither_answered_nor_on_the_queue_has_to_come_again(harness: RequestHarness) -> None:
    async def answer(_: Mapping[str, Any]) -> str:
        raise StorageError("ServerBusy")

    worker = harness.worker(answer=answer)
    worker.requests._storage.turns.queue.put = _RefusingQueue(None, until=now() + 100).put  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await worker.requests.answer(request_of())
    await asyncio.sleep(100)
    assert await harness.worker().requests.answer(request_of()) == KeptValue("question 1: answer 2")


@in_virtual_time
async def test_a_value_that_the_output_queue_refuses_is_sent_later_and_nothing_is_asked_again(
    harness: RequestHarness,
) -> None:
    worker = harness.worker()
    refusing = _RefusingQueue(harness.store.queue("azure-function-ask-output"), until=now() + 100)
    worker.requests._storage = replace(worker.requests._storage, open_output=lambda _: refusing)
    await worker.requests.answer(request_of())
    assert await harness.answers() == []
    await harness.later(worker)
    assert await harness.answers() == [("call_1", "question 1: answer 1")]
    assert len(harness.calls.made) == 1


@in_virtual_time
async def test_a_value_that_may_have_been_sent_before_is_counted_as_a_repeat(harness: RequestHarness) -> None:
    worker, queue = harness.worker(), harness.store.queue("azure-function-ask-output")
    forgetful: Any = _ForgetfulStorage(queue)
    worker.requests._storage = replace(worker.requests._storage, open_output=lambda _: forgetful)
    value = await worker.requests.answer(request_of())
    assert value is not None
    assert await harness.answers() == [("call_1", value.text)] * 2
    assert harness.telemetry.counted("foundry.repeats", kind="value", tool="ask") == 1


@in_virtual_time
async def test_a_value_that_the_client_of_storage_put_again_by_itself_is_counted_too(harness: RequestHarness) -> None:
    worker = harness.worker()
    repeating: Any = _RepeatingQueue(harness.store.queue("azure-function-ask-output"))
    worker.requests._storage = replace(worker.requests._storage, open_output=lambda _: repeating)
    await worker.requests.answer(request_of())
    assert len(await harness.answers()) == 3
    assert harness.telemetry.counted("foundry.repeats", kind="value", tool="ask") == 2


@pytest.mark.parametrize("value_is_sent", [True, False])
def test_a_value_that_is_kept_again_though_it_was_not_sent_is_no_repeat(value_is_sent: bool, tmp_path: Path) -> None:
    @in_virtual_time
    async def script(harness: RequestHarness) -> None:
        worker = harness.worker()
        forgetful: Any = _ForgetfulStorage(harness.store.documents())
        worker.requests._values._documents = forgetful
        value = await worker.requests.answer(replace(request_of(), value_is_sent=value_is_sent))
        assert value is not None
        assert await harness.answers() == [("call_1", value.text)] * value_is_sent
        assert harness.telemetry.counted("foundry.repeats") == 0

    script(tmp_path)


@in_virtual_time
async def test_a_request_that_failed_before_its_value_was_kept_is_known_as_lost(harness: RequestHarness) -> None:
    worker = harness.worker()
    refusing = _RefusingDocuments(harness.store.documents())
    worker.requests._values._documents = refusing
    await worker.requests.answer(request_of())
    with pytest.raises(UndeliveredError):
        await harness.later(worker, 3000)
    assert await harness.worker().requests.find("ask", "call_1") == KeptValue(LOST, failed=True)


@in_virtual_time
async def test_a_request_that_no_worker_can_find_is_known_as_lost_after_the_time_of_a_run(
    harness: RequestHarness,
) -> None:
    worker, other = harness.worker(), harness.worker()
    worker.requests._storage.turns.queue.put = _RefusingQueue(None, until=now() + 100).put  # type: ignore[method-assign]
    async with worker.killed(replace(request_of(), value_is_sent=False), 1):
        await harness.later(other, 60)
        assert await other.requests.find("ask", "call_1") == OpenRequest()
        await asyncio.sleep(LEASE_SECONDS + 600)
        assert await other.requests.find("ask", "call_1") == KeptValue(LOST, failed=True)


class _ForgetfulStorage:
    """Takes what is put first, and does not say so."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._has_answered = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def put(self, *arguments: Any, **named: Any) -> Any:
        receipt = await self._storage.put(*arguments, **named)
        if not self._has_answered:
            self._has_answered = True
            raise StorageError("no answer")
        return receipt


class _RepeatingQueue:
    def __init__(self, queue: Any) -> None:
        self._queue = queue

    async def put(self, *arguments: Any, **named: Any) -> Any:
        receipts = [await self._queue.put(*arguments, **named) for _ in range(3)]
        return replace(receipts[-1], repeats=2)


class _RefusingQueue:
    def __init__(self, queue: Any, until: float) -> None:
        self._queue = queue
        self._until = until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def put(self, *arguments: Any, **named: Any) -> Any:
        if now() < self._until:
            raise StorageError("ServerBusy")
        return await self._queue.put(*arguments, **named)


class _RefusingDocuments(_RefusingQueue):
    def __init__(self, documents: Any) -> None:
        super().__init__(documents, until=float("inf"))
