"""A turn is entered once and taken over once, whatever the ledger and the queue answer, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.agent.events import Answer
from app.agent.turn import Turn
from app.agent.user_messages import GIVEN_UP, TURN_TIMED_OUT, WAS_INTERRUPTED
from app.bot.channel import TEAMS_GROUP
from app.storage.ledger import BeginResult, TurnKey, TurnRecord, TurnState
from app.storage.queue import MAX_MESSAGE_BYTES, Receipt
from app.storage.storage_errors import StorageError
from app.turns.checkpoint import Checkpoint
from app.turns.queue_message import TurnMessage, parse_turn_message
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.turn_harness import (
    ANN,
    ANSWER,
    LEASE,
    TurnHarness,
    Worker,
    desk_with,
    in_virtual_time,
    now,
    played,
    refuse,
)

KEY = TurnKey(ANN, "1")
HAND_OVER = TurnMessage(KEY, 1000.0, "How?", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
LARGE = TurnMessage(KEY, 1000.0, "How? " * (MAX_MESSAGE_BYTES // 5 + 1))


async def hang(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


@in_virtual_time
async def test_a_turn_whose_worker_went_away_before_the_ledger_knew_of_it_is_entered_by_the_next(
    house: TurnHarness,
) -> None:
    held = await desk_with(house, MemoryReceiver()).claim(HAND_OVER)
    assert held is not None, "the question is lost"
    assert held.turn_message == HAND_OVER
    assert (await house.store.find(KEY)) == held.record


@in_virtual_time
async def test_a_turn_that_is_older_than_what_the_ledger_remembers_is_not_begun_anew(house: TurnHarness) -> None:
    old = TurnMessage(KEY, now() - 13 * 3600, "How?")
    assert await desk_with(house, MemoryReceiver()).claim(old) is None


@in_virtual_time
async def test_a_turn_that_could_not_be_entered_leaves_no_message(house: TurnHarness) -> None:
    inbox = MemoryReceiver()
    house.store.begin = refuse  # type: ignore[method-assign]
    with pytest.raises(StorageError):
        await desk_with(house, inbox).enter(KEY, HAND_OVER)
    assert inbox.messages == {}, "told to ask again, they have two answers"


@in_virtual_time
async def test_who_asks_is_told_within_ten_seconds_that_storage_does_not_answer(house: TurnHarness) -> None:
    house.store.begin = hang  # type: ignore[method-assign]
    started = now()
    with pytest.raises(StorageError):
        await desk_with(house, MemoryReceiver()).enter(KEY, HAND_OVER)
    assert now() - started <= 10, "Teams hangs up after 15 s"


@pytest.mark.parametrize("put", [refuse, hang])
@pytest.mark.parametrize("turn_message", [HAND_OVER, LARGE], ids=["a question", "a large question"])
def test_a_queue_that_takes_nothing_keeps_no_turn_from_being_entered(
    put: Any, turn_message: TurnMessage, tmp_path: Path
) -> None:
    async def script(house: TurnHarness) -> None:
        inbox = MemoryReceiver()
        inbox.put = put  # type: ignore[method-assign]
        started = now()
        assert await desk_with(house, inbox).enter(KEY, turn_message) is not None
        assert now() - started <= 5

    played(TEAMS_GROUP, tmp_path, script)


@in_virtual_time
async def test_a_large_question_is_in_the_ledger_before_its_message_is_on_the_queue(house: TurnHarness) -> None:
    inbox, known = MemoryReceiver(), []
    put, begin = inbox.put, house.store.begin

    async def look(body: str, *, visibility_timeout: float) -> Receipt:
        found = await house.store.find(KEY)
        known.append(found and found.payload)
        return await put(body, visibility_timeout=visibility_timeout)

    async def slow(turn: TurnRecord, *, remember: int) -> BeginResult | None:
        await asyncio.sleep(1)
        return await begin(turn, remember=remember)

    inbox.put, house.store.begin = look, slow  # type: ignore[method-assign]
    await desk_with(house, inbox).enter(KEY, LARGE)
    assert known == [LARGE.payload], "another worker would have to answer a question that it does not know"


@pytest.mark.parametrize("turn_message", [HAND_OVER, LARGE], ids=["a question", "a large question"])
def test_who_takes_a_turn_over_knows_all_of_the_question_and_its_trace(
    turn_message: TurnMessage, tmp_path: Path
) -> None:
    async def script(house: TurnHarness) -> None:
        inbox = MemoryReceiver()
        desk = desk_with(house, inbox)
        await desk.enter(KEY, turn_message)
        await asyncio.sleep(LEASE + 2)
        (body,) = inbox.bodies
        held = await desk.claim(parse_turn_message(body))
        assert held is not None
        assert held.turn_message == turn_message
        assert [parse_turn_message(body).traceparent for body in inbox.bodies] == [turn_message.traceparent] * 2

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("turn_message", [HAND_OVER, None], ids=["by message", "with expectReplies"])
def test_a_turn_that_is_delivered_again_belongs_to_whoever_works_on_it_as_long_as_they_do(
    turn_message: TurnMessage | None, tmp_path: Path
) -> None:
    async def script(house: TurnHarness) -> None:
        desk = desk_with(house, MemoryReceiver())
        first = await desk.enter(KEY, turn_message)
        assert first is not None
        async with first:
            await asyncio.sleep(2 * LEASE)
            assert await desk.enter(KEY, turn_message) is None, "two workers answer one question"
        await asyncio.sleep(LEASE + 1)
        again = await desk.enter(KEY, turn_message)
        assert again is not None, "the question is lost"
        assert again.record.attempt_count == 2
        await again.close(TurnState.ANSWERED, ())
        assert await desk.enter(KEY, turn_message) is None

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("faster", ["the worker that seemed gone", "another worker"])
def test_who_comes_too_late_to_take_a_turn_over_leaves_one_message_of_it(faster: str, tmp_path: Path) -> None:
    async def script(house: TurnHarness) -> None:
        inbox, change = MemoryReceiver(), house.store.change
        desk = desk_with(house, inbox)
        await desk.enter(KEY, HAND_OVER)
        await asyncio.sleep(LEASE + 2)
        (taken,) = await inbox.take(9, visibility_timeout=600)
        await inbox.delete(taken.receipt)

        async def too_late(record: TurnRecord) -> TurnRecord:
            found = await house.store.find(KEY)
            assert found is not None
            if faster == "another worker":
                # It has put a message of its own.
                await inbox.put(HAND_OVER.written(), visibility_timeout=LEASE)
                found = found.changed(owner="another")
            await change(found.changed(lease_until=now() + LEASE))
            return await change(record)

        house.store.change = too_late  # type: ignore[method-assign]
        assert await desk.claim(HAND_OVER) is None
        assert len(inbox.messages) == 1

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("door", ["run", "go_on"])
def test_an_answer_takes_no_longer_than_its_door_allows(door: str, tmp_path: Path) -> None:
    async def script(house: TurnHarness) -> None:
        worker, turn, started = house.worker(seconds=50), Turn("1", ANN, "How?"), now()
        if door == "run":
            await worker.runner.run(turn, worker.reply, payload="How?", time_limit=5)
        else:
            held = await worker.runner.claim(HAND_OVER)
            assert held is not None
            await worker.runner.go_on(held, turn, worker.reply, time_limit=5)
        (told,) = house.chat.messages.values()
        assert TURN_TIMED_OUT.english in told
        assert now() - started < 7

    played(TEAMS_GROUP, tmp_path, script)


@in_virtual_time
async def test_what_is_put_off_comes_back_after_a_lease(house: TurnHarness) -> None:
    await house.worker().runner.requeue(HAND_OVER)
    inbox = house.store.queue("turns")
    await asyncio.sleep(LEASE - 1)
    assert await inbox.take(9, visibility_timeout=1) == [], "a storage that is away is asked without a pause"
    await asyncio.sleep(2)
    (taken,) = await inbox.take(9, visibility_timeout=1)
    assert parse_turn_message(taken.body) == HAND_OVER


@in_virtual_time
async def test_a_turn_that_was_being_entered_when_its_worker_ended_is_anothers_at_once(house: TurnHarness) -> None:
    begin = house.store.begin

    async def slow(turn: TurnRecord, *, remember: int) -> BeginResult | None:
        await asyncio.sleep(1)
        return await begin(turn, remember=remember)

    house.store.begin = slow  # type: ignore[method-assign]
    asking = asyncio.create_task(house.worker().ask())
    await asyncio.sleep(0.5)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    ended = now()
    other = house.worker()
    for taken in await house.store.queue("turns").take(9, visibility_timeout=600):
        await other.resume(taken.body)
    assert list(house.chat.messages.values()) == [ANSWER]
    assert now() - ended < 10


@in_virtual_time
async def test_a_turn_that_was_being_taken_over_when_its_worker_ended_has_lost_no_try(house: TurnHarness) -> None:
    change, queue = house.store.change, house.store.queue("turns")
    gone = TurnRecord(KEY, 0, TurnState.STARTED, "gone", now() - 1, attempt_count=2)
    await house.store.begin(gone, remember=9)

    async def slow(record: TurnRecord) -> TurnRecord:
        done = await change(record)
        await asyncio.sleep(0.5)
        return done

    house.store.change = slow  # type: ignore[method-assign]
    taking = asyncio.create_task(house.worker().runner.claim(HAND_OVER))
    await asyncio.sleep(0.2)
    taking.cancel()
    await asyncio.wait([taking])
    assert taking.cancelled()
    found = await house.store.find(KEY)
    assert found is not None
    assert (found.attempt_count, found.lease_until <= now()) == (2, True), (
        "the person is told that it was interrupted too often"
    )
    assert len(await queue.take(9, visibility_timeout=1)) == 1


async def left_behind(
    house: TurnHarness, worker: Worker, attempt_count: int, checkpoint: str = "", question: str = "How?"
) -> None:
    """By workers that are gone; `worker` takes it over."""
    gone = TurnRecord(KEY, 0, TurnState.STARTED, "gone", now() - 1, attempt_count, question, checkpoint)
    await house.store.begin(gone, remember=9)
    await worker.resume(TurnMessage(KEY, now(), question).written())


@in_virtual_time
async def test_the_third_try_is_still_an_answer(house: TurnHarness) -> None:
    await left_behind(house, house.worker(), attempt_count=2)
    (told,) = house.chat.messages.values()
    assert told == f"{WAS_INTERRUPTED.english}\n\n{ANSWER}", (
        "what the person saw of it may have been more than was kept"
    )


@in_virtual_time
async def test_after_the_third_try_the_model_is_not_asked_again(house: TurnHarness) -> None:
    worker = house.worker()
    await left_behind(house, worker, attempt_count=3)
    (told,) = house.chat.messages.values()
    assert GIVEN_UP.english in told
    assert worker.model.asked == 0


@in_virtual_time
async def test_a_turn_that_was_given_back_unsaid_does_not_say_that_it_was_interrupted(house: TurnHarness) -> None:
    await left_behind(house, house.worker(), attempt_count=0)
    assert list(house.chat.messages.values()) == [ANSWER]


@in_virtual_time
async def test_a_command_whose_answer_is_known_is_not_done_again(house: TurnHarness) -> None:
    worker = house.worker()
    await worker.ask("How?", "0")
    known = Checkpoint(end=Answer("Forgotten.", by_model=False))
    await left_behind(house, worker, attempt_count=1, checkpoint=known.written(9999), question="/forget")
    assert list(house.chat.messages.values())[-1] == "Forgotten."
    assert len(await house.store.recent(ANN, 9)) == 2, "what was said after the command is forgotten too"
