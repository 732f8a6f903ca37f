"""A turn is entered once and taken over once, whatever the ledger and the queue answer, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.agent.events import Answer
from app.agent.turn import Turn
from app.agent.user_messages import GIVEN_UP, INTERRUPTION_NOTE, TURN_TIMED_OUT
from app.bot.channel import TEAMS_GROUP
from app.storage.ledger import BeginResult, TurnKey, TurnRecord, TurnState
from app.storage.queue import MAX_QUEUE_MESSAGE_BYTES, Receipt
from app.storage.storage_errors import StorageError
from app.turns.checkpoint import Checkpoint
from app.turns.queue_message import TurnMessage
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.turn_harness import (
    ANN,
    ANSWER,
    LEASE,
    TurnHarness,
    Worker,
    claim,
    claims_with,
    in_virtual_time,
    now,
    played,
    refuse,
)

KEY = TurnKey(ANN, "1")
MESSAGE = TurnMessage(KEY, 1000.0, "How?", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
LARGE = TurnMessage(KEY, 1000.0, "How? " * (MAX_QUEUE_MESSAGE_BYTES // 5 + 1))


async def hang(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


@in_virtual_time
async def test_a_turn_whose_worker_went_away_before_the_ledger_knew_of_it_is_entered_by_the_next(
    harness: TurnHarness,
) -> None:
    lease = await claim(claims_with(harness, MemoryReceiver()), MESSAGE)
    assert lease is not None, "the question is lost"
    assert lease.message == MESSAGE
    assert (await harness.store.find(KEY)) == lease.record


@in_virtual_time
async def test_a_turn_that_is_older_than_what_the_ledger_remembers_is_not_begun_anew(harness: TurnHarness) -> None:
    old = TurnMessage(KEY, now() - 13 * 3600, "How?")
    assert await claim(claims_with(harness, MemoryReceiver()), old) is None


@in_virtual_time
async def test_a_turn_that_could_not_be_entered_leaves_no_message(harness: TurnHarness) -> None:
    receiver = MemoryReceiver()
    harness.store.begin = refuse  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await claims_with(harness, receiver).enter(KEY, MESSAGE)
    assert receiver.messages == {}, "told to ask again, they have two answers"


@in_virtual_time
async def test_who_asks_is_told_within_ten_seconds_that_storage_does_not_answer(harness: TurnHarness) -> None:
    harness.store.begin = hang  # type: ignore[method-assign]
    started = now()
    with pytest.raises(StorageError):
        await claims_with(harness, MemoryReceiver()).enter(KEY, MESSAGE)
    assert now() - started <= 10, "Teams hangs up after 15 s"


@pytest.mark.parametrize("put", [refuse, hang])
@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["a question", "a large question"])
def test_a_queue_that_takes_nothing_keeps_no_turn_from_being_entered(
    put: Any, message: TurnMessage, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        receiver = MemoryReceiver()
        receiver.put = put  # type: ignore[method-assign]
        started = now()
        assert await claims_with(harness, receiver).enter(KEY, message) is not None
        assert now() - started <= 5

    played(TEAMS_GROUP, tmp_path, script)


@in_virtual_time
async def test_a_large_question_is_in_the_ledger_before_its_message_is_on_the_queue(harness: TurnHarness) -> None:
    receiver, known = MemoryReceiver(), []
    put, begin = receiver.put, harness.store.begin

    async def look(body: str, **times: float) -> Receipt:
        found = await harness.store.find(KEY)
        known.append(found and found.payload)
        return await put(body, **times)

    async def slow(turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        await asyncio.sleep(1)
        return await begin(turn, history_limit=history_limit)

    receiver.put, harness.store.begin = look, slow  # type: ignore[method-assign]
    await claims_with(harness, receiver).enter(KEY, LARGE)
    assert known == [LARGE.payload], "another worker would have to answer a question that it does not know"


@pytest.mark.parametrize("message", [MESSAGE, LARGE], ids=["a question", "a large question"])
def test_a_worker_that_claims_a_turn_knows_all_of_the_question_and_its_trace(
    message: TurnMessage, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        receiver = MemoryReceiver()
        claims = claims_with(harness, receiver)
        await claims.enter(KEY, message)
        await asyncio.sleep(LEASE + 2)
        (body,) = receiver.bodies
        lease = await claim(claims, TurnMessage.from_json(body))
        assert lease is not None
        assert lease.message == message
        assert [TurnMessage.from_json(body).traceparent for body in receiver.bodies] == [message.traceparent] * 2

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("message", [MESSAGE, None], ids=["by message", "with expectReplies"])
def test_a_turn_that_is_delivered_again_belongs_to_its_worker_as_long_as_that_works_on_it(
    message: TurnMessage | None, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        claims = claims_with(harness, MemoryReceiver())
        first = await claims.enter(KEY, message)
        assert first is not None
        async with first:
            await asyncio.sleep(2 * LEASE)
            assert await claims.enter(KEY, message) is None, "two workers answer one question"
        await asyncio.sleep(LEASE + 1)
        again = await claims.enter(KEY, message)
        assert again is not None, "the question is lost"
        assert again.record.attempt_count == 2
        await again.close(TurnState.ANSWERED, ())
        assert await claims.enter(KEY, message) is None

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("faster", ["the worker that seemed gone", "another worker"])
def test_a_worker_that_claims_a_turn_too_late_leaves_one_message_of_it(faster: str, tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        receiver, change = MemoryReceiver(), harness.store.change
        claims = claims_with(harness, receiver)
        await claims.enter(KEY, MESSAGE)
        await asyncio.sleep(LEASE + 2)
        (taken,) = await receiver.receive(9, visibility_timeout=600)
        await receiver.delete(taken.receipt)

        async def too_late(record: TurnRecord) -> TurnRecord:
            found = await harness.store.find(KEY)
            assert found is not None
            if faster == "another worker":
                # It has put a message of its own.
                await receiver.put(MESSAGE.to_json(), visibility_timeout=LEASE)
                found = found.changed(owner="another")
            await change(found.changed(lease_until=now() + LEASE))
            return await change(record)

        harness.store.change = too_late  # type: ignore[method-assign]
        assert await claim(claims, MESSAGE) is None
        assert len(receiver.messages) == 1

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("way_in", ["run", "execute"])
def test_an_answer_takes_no_longer_than_its_channel_allows(way_in: str, tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        worker, turn, started = harness.worker(seconds=50), Turn("1", ANN, "How?"), now()
        if way_in == "run":
            await worker.runner.run(turn, worker.reply, payload="How?", time_limit_seconds=5)
        else:
            lease = await claim(worker.runner, MESSAGE)
            assert lease is not None
            await worker.runner.execute(lease, turn, worker.reply, time_limit_seconds=5)
        (told,) = harness.chat.messages.values()
        assert TURN_TIMED_OUT.english in told
        assert now() - started < 7

    played(TEAMS_GROUP, tmp_path, script)


@in_virtual_time
async def test_what_is_requeued_comes_back_after_a_lease(harness: TurnHarness) -> None:
    await harness.worker().runner.requeue(MESSAGE)
    receiver = harness.store.queue("turns")
    await asyncio.sleep(LEASE - 1)
    assert await receiver.receive(9, visibility_timeout=1) == [], "a storage that is away is asked without a pause"
    await asyncio.sleep(2)
    (taken,) = await receiver.receive(9, visibility_timeout=1)
    assert TurnMessage.from_json(taken.body) == MESSAGE


@in_virtual_time
async def test_a_turn_that_was_being_entered_when_its_worker_ended_is_anothers_at_once(harness: TurnHarness) -> None:
    begin = harness.store.begin

    async def slow(turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        await asyncio.sleep(1)
        return await begin(turn, history_limit=history_limit)

    harness.store.begin = slow  # type: ignore[method-assign]
    asking = asyncio.create_task(harness.worker().ask())
    await asyncio.sleep(0.5)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    ended = now()
    other = harness.worker()
    for taken in await harness.store.queue("turns").receive(9, visibility_timeout=600):
        await other.resume(taken.body)
    assert list(harness.chat.messages.values()) == [ANSWER]
    assert now() - ended < 10


@in_virtual_time
async def test_a_turn_that_was_being_claimed_when_its_worker_ended_has_lost_no_attempt(harness: TurnHarness) -> None:
    change, queue = harness.store.change, harness.store.queue("turns")
    gone = TurnRecord(KEY, 0, TurnState.STARTED, "gone", now() - 1, attempt_count=2)
    await harness.store.begin(gone, history_limit=9)

    async def slow(record: TurnRecord) -> TurnRecord:
        done = await change(record)
        await asyncio.sleep(0.5)
        return done

    harness.store.change = slow  # type: ignore[method-assign]
    taking = asyncio.create_task(claim(harness.worker().runner, MESSAGE))
    await asyncio.sleep(0.2)
    taking.cancel()
    await asyncio.wait([taking])
    assert taking.cancelled()
    found = await harness.store.find(KEY)
    assert found is not None
    assert (found.attempt_count, found.lease_until <= now()) == (2, True), (
        "the person is told that it was interrupted too often"
    )
    assert len(await queue.receive(9, visibility_timeout=1)) == 1


async def left_behind(
    harness: TurnHarness, worker: Worker, attempt_count: int, checkpoint: str = "", question: str = "How?"
) -> None:
    """By workers that are gone; `worker` takes it over."""
    gone = TurnRecord(KEY, 0, TurnState.STARTED, "gone", now() - 1, attempt_count, question, checkpoint)
    await harness.store.begin(gone, history_limit=9)
    await worker.resume(TurnMessage(KEY, now(), question).to_json())


@in_virtual_time
async def test_the_third_attempt_is_still_an_answer(harness: TurnHarness) -> None:
    await left_behind(harness, harness.worker(), attempt_count=2)
    (told,) = harness.chat.messages.values()
    assert told == f"{INTERRUPTION_NOTE.english}\n\n{ANSWER}", (
        "what the person saw of it may have been more than was kept"
    )


@in_virtual_time
async def test_after_the_third_attempt_the_model_is_not_asked_again(harness: TurnHarness) -> None:
    worker = harness.worker()
    await left_behind(harness, worker, attempt_count=3)
    (told,) = harness.chat.messages.values()
    assert GIVEN_UP.english in told
    assert worker.model.asked == 0


@in_virtual_time
async def test_a_turn_that_was_released_unanswered_does_not_say_that_it_was_interrupted(harness: TurnHarness) -> None:
    await left_behind(harness, harness.worker(), attempt_count=0)
    assert list(harness.chat.messages.values()) == [ANSWER]


@in_virtual_time
async def test_a_command_whose_answer_is_known_is_not_done_again(harness: TurnHarness) -> None:
    worker = harness.worker()
    await worker.ask("How?", "0")
    known = Checkpoint(end=Answer("Forgotten.", by_model=False))
    await left_behind(harness, worker, attempt_count=1, checkpoint=known.to_json(), question="/forget")
    assert list(harness.chat.messages.values())[-1] == "Forgotten."
    assert len(await harness.store.recent(ANN, 9)) == 2, "what was said after the command is forgotten too"
