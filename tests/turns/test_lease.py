"""The lease of a turn: renewed, saved, released and closed, whatever storage and other workers do meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest

from app.agent.events import Answer
from app.agent.turn import Turn
from app.bot.channel import TEAMS_GROUP
from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnKey, TurnRecord, TurnState
from app.storage.storage_errors import StorageError
from app.telemetry.span_records import Sink
from app.telemetry.turn_span import TurnSpan, traced
from app.turns.checkpoint import Checkpoint
from app.turns.lease import TurnLease
from app.turns.queue_message import TurnMessage
from app.turns.reply import CheckpointError, LeaseLostError, SaveCheckpoint, UndeliveredError, discard_checkpoint
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.turn_harness import (
    ANN,
    ANSWER,
    LEASE,
    TurnHarness,
    claim,
    claims_with,
    in_virtual_time,
    now,
    played,
    refuse,
)

KEY = TurnKey(ANN, "1")
MESSAGE = TurnMessage(KEY, 1000.0, "How?")
A_RENEWAL = LEASE / 3 + 1


async def entered_turn(harness: TurnHarness, receiver: MemoryReceiver, message: TurnMessage = MESSAGE) -> TurnLease:
    claims = claims_with(harness, receiver)
    lease = await claims.enter(message.key, message)
    assert lease is not None
    return lease


async def row(harness: TurnHarness) -> TurnRecord:
    found = await harness.store.find(KEY)
    assert found is not None
    return found


async def taken_by_another(harness: TurnHarness) -> None:
    found = await row(harness)
    await harness.store.change(
        found.changed(owner="another", lease_until=now() + LEASE, attempt_count=found.attempt_count + 1)
    )


@in_virtual_time
async def test_a_worker_that_was_too_slow_changes_nothing_in_a_turn_that_another_has(harness: TurnHarness) -> None:
    lease = await entered_turn(harness, MemoryReceiver())
    await taken_by_another(harness)
    with pytest.raises(LeaseLostError):
        await lease.save_checkpoint(Checkpoint("First"))
    with pytest.raises(LeaseLostError):
        await lease.close(TurnState.ANSWERED, [StoredMessage("user", "How?")])
    found = await row(harness)
    assert (found.owner, found.checkpoint, found.state) == ("another", "", TurnState.STARTED)
    assert await harness.store.recent(ANN, 9) == []


@in_virtual_time
async def test_a_worker_whose_turn_another_has_hears_of_it_at_the_next_renewal(harness: TurnHarness) -> None:
    heard: list[float] = []
    lease = await entered_turn(harness, MemoryReceiver())
    lease.when_lost(lambda: heard.append(now()))
    async with lease:
        await taken_by_another(harness)
        await asyncio.sleep(A_RENEWAL)
    assert len(heard) == 1
    assert lease.lost


@in_virtual_time
async def test_a_close_whose_answer_was_lost_is_no_loss_of_the_turn(harness: TurnHarness) -> None:
    end, lost = harness.store.end, Mock()

    async def slow_to_answer(*arguments: Any, **named: Any) -> None:
        await end(*arguments, **named)
        await asyncio.sleep(A_RENEWAL)
        raise StorageError("the answer was lost")

    lease = await entered_turn(harness, MemoryReceiver())
    lease.when_lost(lost)
    async with lease:
        harness.store.end = slow_to_answer  # type: ignore[method-assign]
        with pytest.raises(StorageError):
            await lease.close(TurnState.ANSWERED, ())
        await asyncio.sleep(A_RENEWAL)
        harness.store.end = end  # type: ignore[method-assign]
        await lease.close(TurnState.ANSWERED, ())
    assert not lease.lost
    lost.assert_not_called()


@in_virtual_time
async def test_a_message_appears_only_after_the_lease_of_the_worker_of_its_turn(harness: TurnHarness) -> None:
    receiver = MemoryReceiver()
    async with await entered_turn(harness, receiver):
        for _ in range(15):
            (message,) = receiver.messages.values()
            assert message.appears > (await row(harness)).lease_until > now(), "who takes it finds a turn that is had"
            await asyncio.sleep(7)


@in_virtual_time
async def test_a_message_that_is_gone_is_put_anew_while_its_turn_is_worked_on(harness: TurnHarness) -> None:
    receiver = MemoryReceiver()
    async with await entered_turn(harness, receiver):
        receiver.messages.clear()
        await asyncio.sleep(A_RENEWAL)
    assert [TurnMessage.from_json(body) for body in receiver.bodies] == [MESSAGE]


@in_virtual_time
async def test_what_is_saved_again_after_storage_hung_does_not_undo_what_was_saved_after_it(
    harness: TurnHarness,
) -> None:
    change, answers_from = harness.store.change, now() + 2.9

    async def hanging(record: TurnRecord) -> TurnRecord:
        if now() < answers_from:
            await asyncio.sleep(60)
        return await change(record)

    end = Answer(ANSWER)
    async with await entered_turn(harness, MemoryReceiver()) as lease:
        harness.store.change = hanging  # type: ignore[method-assign]
        before = asyncio.create_task(lease.save_checkpoint(Checkpoint("", {"stream_id": None}, end)))
        await asyncio.sleep(0.1)
        await lease.save_checkpoint(Checkpoint("", {"stream_id": "s0"}, end))
        await before
        assert Checkpoint.from_json((await row(harness)).checkpoint).reply_state == {"stream_id": "s0"}


@in_virtual_time
async def test_a_renewal_does_not_undo_what_is_saved_at_the_same_time(harness: TurnHarness) -> None:
    change = harness.store.change

    async def slow_to_answer(record: TurnRecord) -> TurnRecord:
        changed = await change(record)
        await asyncio.sleep(1)
        return changed

    async with await entered_turn(harness, MemoryReceiver()) as lease:
        harness.store.change = slow_to_answer  # type: ignore[method-assign]
        await asyncio.sleep(LEASE / 3 - 0.5)
        await lease.save_checkpoint(Checkpoint("First"))
        await asyncio.sleep(3)
    assert Checkpoint.from_json((await row(harness)).checkpoint).text == "First", (
        "the next worker says it a second time"
    )


@in_virtual_time
async def test_a_renewal_that_fails_is_not_the_last_one(harness: TurnHarness) -> None:
    change, started = harness.store.change, now()
    async with await entered_turn(harness, MemoryReceiver()):
        harness.store.change = refuse  # type: ignore[method-assign]
        await asyncio.sleep(A_RENEWAL)
        harness.store.change = change  # type: ignore[method-assign]
        await asyncio.sleep(A_RENEWAL)
    assert (await row(harness)).lease_until > started + LEASE + 10


@in_virtual_time
async def test_a_turn_that_is_released_is_free_at_once_and_that_was_no_attempt(harness: TurnHarness) -> None:
    receiver = MemoryReceiver()
    claims = claims_with(harness, receiver)
    lease = await entered_turn(harness, receiver)
    for _ in range(5):
        assert lease.record.attempt_count == 1
        await lease.release()
        (taken,) = await receiver.receive(9, visibility_timeout=600)
        await receiver.delete(taken.receipt)
        again = await claim(claims, TurnMessage.from_json(taken.body))
        assert again is not None
        lease = again
    await lease.release(after=15, counts_as_attempt=True)
    assert (lease.record.attempt_count, lease.record.lease_until) == (1, now() + 15)


@in_virtual_time
async def test_a_turn_that_never_got_a_message_is_released_with_one_once_storage_answers_again(
    harness: TurnHarness,
) -> None:
    receiver, back_at = MemoryReceiver(fails=True), now() + 25
    asyncio.get_running_loop().call_later(25, setattr, receiver, "fails", False)
    lease = await entered_turn(harness, receiver)
    await asyncio.sleep(A_RENEWAL)
    await lease.release(after=15)

    assert now() < back_at + 5
    await asyncio.sleep(16)
    (message,) = await receiver.receive(9, visibility_timeout=600)
    assert await claim(claims_with(harness, receiver), TurnMessage.from_json(message.body)) is not None


@in_virtual_time
async def test_a_turn_that_is_released_is_not_renewed(harness: TurnHarness) -> None:
    async with await entered_turn(harness, MemoryReceiver()) as lease:
        await lease.release()
        await asyncio.sleep(A_RENEWAL)
        assert (await row(harness)).lease_until < now(), "nobody may go on with it"


@in_virtual_time
async def test_what_is_not_the_end_waits_a_few_seconds_for_storage_at_most(harness: TurnHarness) -> None:
    async def hang(_: TurnRecord) -> TurnRecord:
        await asyncio.Event().wait()
        raise AssertionError

    lease, started = await entered_turn(harness, MemoryReceiver()), now()
    harness.store.change = hang  # type: ignore[method-assign,assignment]
    with pytest.raises(CheckpointError):
        await lease.save_checkpoint(Checkpoint("First"))
    assert now() - started < 5


@in_virtual_time
async def test_an_end_that_cannot_be_saved_is_sent_a_minute_after_the_lease(harness: TurnHarness) -> None:
    lease, started = await entered_turn(harness, MemoryReceiver()), now()
    harness.store.change = refuse  # type: ignore[method-assign]
    await lease.save_checkpoint(Checkpoint("First", end=Answer("First")))
    assert LEASE + 60 <= now() - started < LEASE + 65


@in_virtual_time
async def test_a_turn_that_is_closed_is_not_renewed(harness: TurnHarness) -> None:
    receiver = MemoryReceiver()
    async with await entered_turn(harness, receiver) as lease:
        await lease.close(TurnState.ANSWERED, ())
        await asyncio.sleep(LEASE)
    assert not lease.lost, "its own end is taken for another worker's"
    assert receiver.messages == {}


class Quiet:
    """A reply that shows and keeps nothing; `refused` is what the channel says to the end."""

    stopped = False
    shown = ""
    activity_id: str | None = None

    def __init__(self, refused: Exception | None = None) -> None:
        self.refused = refused
        self.abandoned = False

    async def begin(self, keep: SaveCheckpoint = discard_checkpoint) -> None: ...

    async def write(self, event: object) -> None: ...

    async def finish(self) -> None:
        if self.refused is not None:
            raise self.refused

    async def abandon(self) -> None:
        self.abandoned = True

    def when_stopped(self, stop: object) -> None: ...


@in_virtual_time
async def test_a_question_that_waits_is_asked_as_soon_as_the_one_before_it_is_answered(harness: TurnHarness) -> None:
    worker, loop = harness.worker(seconds=12), asyncio.get_running_loop()
    one = asyncio.create_task(worker.ask("How?", "1"))
    ended: list[float] = []
    one.add_done_callback(lambda _: ended.append(loop.time()))
    await asyncio.sleep(1)
    two = asyncio.create_task(worker.ask("And then?", "2"))
    while worker.model.asked < 2:  # noqa: ASYNC110 - in virtual time
        await asyncio.sleep(0.01)
    assert loop.time() - ended[0] < 0.1
    await asyncio.gather(one, two)


@in_virtual_time
async def test_an_answer_that_was_said_stands_though_storage_never_takes_its_end(harness: TurnHarness) -> None:
    worker = harness.worker()
    cast(Any, worker.runner._backend.store).end = refuse
    await worker.ask()
    assert list(harness.chat.messages.values()) == [ANSWER]


@in_virtual_time
async def test_a_turn_that_continued_elsewhere_counts_as_handed_over_and_not_as_failed(harness: TurnHarness) -> None:
    worker = harness.worker(seconds=50)
    with traced(TurnSpan("message", Mock(spec=Sink))) as span:
        running = worker.runner.run(Turn("1", ANN, "How?"), lambda _: Quiet(), payload="How?")
        asking = asyncio.create_task(running)
        await asyncio.sleep(1)
        await taken_by_another(harness)
        await asking
    assert (span.outcome, span.error) == ("handed over", None)


@pytest.mark.parametrize("why", ["its worker ends", "the channel takes nothing", "the one before it takes too long"])
def test_a_reply_has_ended_before_another_worker_may_continue_it(why: str, tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        reply = Quiet(UndeliveredError("away") if why == "the channel takes nothing" else None)
        worker, had_ended, change = harness.worker(seconds=20), [], harness.store.change
        store = cast(Any, worker.runner._backend.store)

        async def look(record: TurnRecord) -> TurnRecord:
            if record.lease_until < now() + LEASE / 2 + 1:
                had_ended.append(reply.abandoned)
            return await change(record)

        store.change = look
        async with await entered_turn(harness, MemoryReceiver(), TurnMessage(TurnKey(ANN, "0"), now())) as before:
            if why != "the one before it takes too long":
                await before.close(TurnState.ANSWERED, ())
            asking = asyncio.create_task(worker.runner.run(Turn("1", ANN, "How?"), lambda _: reply, payload="How?"))
            if why == "its worker ends":
                await asyncio.sleep(5)
                asking.cancel()
            await asyncio.wait([asking])
        assert had_ended == [True], "two workers write into one answer"

    played(TEAMS_GROUP, tmp_path, script)
