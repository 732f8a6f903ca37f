"""A turn is entered once and taken over once, whatever the ledger and the queue answer, and when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.agent.events import Answer
from app.agent.sentences import GIVEN_UP, TURN_TIMED_OUT, WAS_INTERRUPTED
from app.agent.turn import Turn
from app.bot.channel import TEAMS_GROUP
from app.storage.failures import StorageFailed
from app.storage.ledger import Begun, TurnKey, TurnRecord, TurnState
from app.storage.queue import MOST_BYTES, Receipt
from app.turns.handover import HandOver, read_hand_over
from app.turns.progress import Progress
from tests.fakes.house import ANN, ANSWER, LEASE, House, Worker, desk_with, in_virtual_time, now, played, refuse
from tests.fakes.memory_inbox import MemoryInbox

KEY = TurnKey(ANN, "1")
HAND_OVER = HandOver(KEY, 1000.0, "How?", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")
LARGE = HandOver(KEY, 1000.0, "How? " * (MOST_BYTES // 5 + 1))


async def hang(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


@in_virtual_time
async def test_a_turn_whose_worker_went_away_before_the_ledger_knew_of_it_is_entered_by_the_next(house: House) -> None:
    held = await desk_with(house, MemoryInbox()).take_over(HAND_OVER)
    assert held is not None, "the question is lost"
    assert held.hand_over == HAND_OVER
    assert (await house.store.find(KEY)) == held.record


@in_virtual_time
async def test_a_turn_that_is_older_than_what_the_ledger_remembers_is_not_begun_anew(house: House) -> None:
    old = HandOver(KEY, now() - 13 * 3600, "How?")
    assert await desk_with(house, MemoryInbox()).take_over(old) is None


@in_virtual_time
async def test_a_turn_that_could_not_be_entered_leaves_no_message(house: House) -> None:
    inbox = MemoryInbox()
    house.store.begin = refuse  # type: ignore[method-assign]
    with pytest.raises(StorageFailed):
        await desk_with(house, inbox).enter(KEY, HAND_OVER)
    assert inbox.messages == {}, "told to ask again, they have two answers"


@in_virtual_time
async def test_who_asks_is_told_within_ten_seconds_that_storage_does_not_answer(house: House) -> None:
    house.store.begin = hang  # type: ignore[method-assign]
    started = now()
    with pytest.raises(StorageFailed):
        await desk_with(house, MemoryInbox()).enter(KEY, HAND_OVER)
    assert now() - started <= 10, "Teams hangs up after 15 s"


@pytest.mark.parametrize("put", [refuse, hang])
@pytest.mark.parametrize("hand_over", [HAND_OVER, LARGE], ids=["a question", "a large question"])
def test_a_queue_that_takes_nothing_keeps_no_turn_from_being_entered(
    put: Any, hand_over: HandOver, tmp_path: Path
) -> None:
    async def script(house: House) -> None:
        inbox = MemoryInbox()
        inbox.put = put  # type: ignore[method-assign]
        started = now()
        assert await desk_with(house, inbox).enter(KEY, hand_over) is not None
        assert now() - started <= 5

    played(TEAMS_GROUP, tmp_path, script)


@in_virtual_time
async def test_a_large_question_is_in_the_ledger_before_its_message_is_on_the_queue(house: House) -> None:
    inbox, known = MemoryInbox(), []
    put, begin = inbox.put, house.store.begin

    async def look(body: str, *, hidden_for: float) -> Receipt:
        found = await house.store.find(KEY)
        known.append(found and found.begun)
        return await put(body, hidden_for=hidden_for)

    async def slow(turn: TurnRecord, *, remember: int) -> Begun | None:
        await asyncio.sleep(1)
        return await begin(turn, remember=remember)

    inbox.put, house.store.begin = look, slow  # type: ignore[method-assign]
    await desk_with(house, inbox).enter(KEY, LARGE)
    assert known == [LARGE.begun], "another worker would have to answer a question that it does not know"


@pytest.mark.parametrize("hand_over", [HAND_OVER, LARGE], ids=["a question", "a large question"])
def test_who_takes_a_turn_over_knows_all_of_the_question_and_its_trace(hand_over: HandOver, tmp_path: Path) -> None:
    async def script(house: House) -> None:
        inbox = MemoryInbox()
        desk = desk_with(house, inbox)
        await desk.enter(KEY, hand_over)
        await asyncio.sleep(LEASE + 2)
        (body,) = inbox.bodies
        held = await desk.take_over(read_hand_over(body))
        assert held is not None
        assert held.hand_over == hand_over
        assert [read_hand_over(body).traceparent for body in inbox.bodies] == [hand_over.traceparent] * 2

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("hand_over", [HAND_OVER, None], ids=["by message", "with expectReplies"])
def test_a_turn_that_is_delivered_again_belongs_to_whoever_works_on_it_as_long_as_they_do(
    hand_over: HandOver | None, tmp_path: Path
) -> None:
    async def script(house: House) -> None:
        desk = desk_with(house, MemoryInbox())
        first = await desk.enter(KEY, hand_over)
        assert first is not None
        async with first:
            await asyncio.sleep(2 * LEASE)
            assert await desk.enter(KEY, hand_over) is None, "two workers answer one question"
        await asyncio.sleep(LEASE + 1)
        again = await desk.enter(KEY, hand_over)
        assert again is not None, "the question is lost"
        assert again.record.tries == 2
        await again.close(TurnState.ANSWERED, ())
        assert await desk.enter(KEY, hand_over) is None

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("faster", ["the worker that seemed gone", "another worker"])
def test_who_comes_too_late_to_take_a_turn_over_leaves_one_message_of_it(faster: str, tmp_path: Path) -> None:
    async def script(house: House) -> None:
        inbox, change = MemoryInbox(), house.store.change
        desk = desk_with(house, inbox)
        await desk.enter(KEY, HAND_OVER)
        await asyncio.sleep(LEASE + 2)
        (taken,) = await inbox.take(9, hidden_for=600)
        await inbox.delete(taken.receipt)

        async def too_late(record: TurnRecord) -> TurnRecord:
            found = await house.store.find(KEY)
            assert found is not None
            if faster == "another worker":
                # It has put a message of its own.
                await inbox.put(HAND_OVER.written(), hidden_for=LEASE)
                found = found.changed(owner="another")
            await change(found.changed(lease_until=now() + LEASE))
            return await change(record)

        house.store.change = too_late  # type: ignore[method-assign]
        assert await desk.take_over(HAND_OVER) is None
        assert len(inbox.messages) == 1

    played(TEAMS_GROUP, tmp_path, script)


@pytest.mark.parametrize("door", ["run", "go_on"])
def test_an_answer_takes_no_longer_than_its_door_allows(door: str, tmp_path: Path) -> None:
    async def script(house: House) -> None:
        worker, turn, started = house.worker(seconds=50), Turn("1", ANN, "How?"), now()
        if door == "run":
            await worker.runner.run(turn, worker.reply, begun="How?", time_limit=5)
        else:
            held = await worker.runner.take_over(HAND_OVER)
            assert held is not None
            await worker.runner.go_on(held, turn, worker.reply, time_limit=5)
        (told,) = house.chat.messages.values()
        assert TURN_TIMED_OUT.english in told
        assert now() - started < 7

    played(TEAMS_GROUP, tmp_path, script)


@in_virtual_time
async def test_what_is_put_off_comes_back_after_a_lease(house: House) -> None:
    await house.worker().runner.put_off(HAND_OVER)
    inbox = house.store.queue("turns")
    await asyncio.sleep(LEASE - 1)
    assert await inbox.take(9, hidden_for=1) == [], "a storage that is away is asked without a pause"
    await asyncio.sleep(2)
    (taken,) = await inbox.take(9, hidden_for=1)
    assert read_hand_over(taken.body) == HAND_OVER


@in_virtual_time
async def test_a_turn_that_was_being_entered_when_its_worker_ended_is_anothers_at_once(house: House) -> None:
    begin = house.store.begin

    async def slow(turn: TurnRecord, *, remember: int) -> Begun | None:
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
    for taken in await house.store.queue("turns").take(9, hidden_for=600):
        await other.resume(taken.body)
    assert list(house.chat.messages.values()) == [ANSWER]
    assert now() - ended < 10


@in_virtual_time
async def test_a_turn_that_was_being_taken_over_when_its_worker_ended_has_lost_no_try(house: House) -> None:
    change, queue = house.store.change, house.store.queue("turns")
    gone = TurnRecord(KEY, 0, TurnState.STARTED, "gone", now() - 1, tries=2)
    await house.store.begin(gone, remember=9)

    async def slow(record: TurnRecord) -> TurnRecord:
        done = await change(record)
        await asyncio.sleep(0.5)
        return done

    house.store.change = slow  # type: ignore[method-assign]
    taking = asyncio.create_task(house.worker().runner.take_over(HAND_OVER))
    await asyncio.sleep(0.2)
    taking.cancel()
    await asyncio.wait([taking])
    assert taking.cancelled()
    found = await house.store.find(KEY)
    assert found is not None
    assert (found.tries, found.lease_until <= now()) == (2, True), (
        "the person is told that it was interrupted too often"
    )
    assert len(await queue.take(9, hidden_for=1)) == 1


async def left_behind(house: House, worker: Worker, tries: int, shown: str = "", question: str = "How?") -> None:
    """By workers that are gone; `worker` takes it over."""
    gone = TurnRecord(KEY, 0, TurnState.STARTED, "gone", now() - 1, tries, question, shown)
    await house.store.begin(gone, remember=9)
    await worker.resume(HandOver(KEY, now(), question).written())


@in_virtual_time
async def test_the_third_try_is_still_an_answer(house: House) -> None:
    await left_behind(house, house.worker(), tries=2)
    (told,) = house.chat.messages.values()
    assert told == f"{WAS_INTERRUPTED.english}\n\n{ANSWER}", (
        "what the person saw of it may have been more than was kept"
    )


@in_virtual_time
async def test_after_the_third_try_the_model_is_not_asked_again(house: House) -> None:
    worker = house.worker()
    await left_behind(house, worker, tries=3)
    (told,) = house.chat.messages.values()
    assert GIVEN_UP.english in told
    assert worker.model.asked == 0


@in_virtual_time
async def test_a_turn_that_was_given_back_unsaid_does_not_say_that_it_was_interrupted(house: House) -> None:
    await left_behind(house, house.worker(), tries=0)
    assert list(house.chat.messages.values()) == [ANSWER]


@in_virtual_time
async def test_a_command_whose_answer_is_known_is_not_done_again(house: House) -> None:
    worker = house.worker()
    await worker.ask("How?", "0")
    known = Progress(end=Answer("Forgotten.", by_model=False))
    await left_behind(house, worker, tries=1, shown=known.written(9999), question="/forget")
    assert list(house.chat.messages.values())[-1] == "Forgotten."
    assert len(await house.store.recent(ANN, 9)) == 2, "what was said after the command is forgotten too"
