"""Turns of a conversation wait for those before them, and not for what nobody brings back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.agent.turn import Turn
from app.bot.channel import TEAMS_GROUP
from app.local.host_json import QueueOptions
from app.local.indexing import QueueFunction
from app.local.queue_trigger import QueueListener
from app.storage.conversations import ConversationKey
from app.storage.ledger import TurnKey, TurnState
from app.turns.claiming import TurnClaims
from app.turns.lease import TurnLease
from app.turns.queue_message import TurnMessage
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.turn_harness import (
    ANN,
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
MESSAGE = TurnMessage(KEY, 1000.0, "How?")


async def brought(receiver: MemoryReceiver, claims: TurnClaims, at_most: float) -> TurnLease:
    """By the host, which looks every second."""
    until = now() + at_most
    while now() < until:
        for taken in await receiver.receive(16, visibility_timeout=600):
            lease = await claim(claims, TurnMessage.from_json(taken.body))
            await receiver.delete(taken.receipt)
            if lease is not None:
                return lease
        await asyncio.sleep(1)
    raise AssertionError(f"nobody gets the turn in {at_most} s")


@in_virtual_time
async def test_a_resumed_turn_behind_another_waits_on_the_queue_and_not_in_a_function(harness: TurnHarness) -> None:
    receiver = MemoryReceiver()
    claims, later = claims_with(harness, receiver), TurnMessage(TurnKey(ANN, "2"), now(), "And then?")
    first, second = await claims.enter(KEY, MESSAGE), await claims.enter(later.key, later)
    assert first is not None
    assert second is not None
    await second.release()
    before, started = await harness.store.find(later.key), now()
    async with first:
        for _ in range(100):
            for taken in await receiver.receive(16, visibility_timeout=600):
                assert await claim(claims, TurnMessage.from_json(taken.body)) is None
                await receiver.delete(taken.receipt)
            await asyncio.sleep(1)
        assert now() - started == 100, "a function was kept waiting, and others had no place"
        assert await harness.store.find(later.key) == before
        await first.close(TurnState.ANSWERED, ())
    lease = await brought(receiver, claims, 5)
    assert (lease.record.key, lease.record.attempt_count, lease.has_predecessor) == (later.key, 1, False)


@in_virtual_time
async def test_after_an_outage_of_any_length_the_first_question_is_answered_first(harness: TurnHarness) -> None:
    receiver = MemoryReceiver()
    claims, later = claims_with(harness, receiver), TurnMessage(TurnKey(ANN, "2"), now(), "And then?")
    await claims.enter(KEY, MESSAGE)
    await claims.enter(later.key, later)
    await asyncio.sleep(600)
    messages = {
        TurnMessage.from_json(taken.body).key: taken for taken in await receiver.receive(16, visibility_timeout=600)
    }
    assert await claim(claims, TurnMessage.from_json(messages[later.key].body)) is None, "the second answer comes first"
    first = await claim(claims, TurnMessage.from_json(messages[KEY].body))
    assert first is not None
    async with first:
        await asyncio.sleep(200)
        await first.close(TurnState.ANSWERED, ())
    assert (await brought(receiver, claims, 5)).record.key == later.key


@in_virtual_time
async def test_a_turn_that_nobody_can_bring_back_holds_the_next_up_once_and_those_after_it_not_at_all(
    harness: TurnHarness,
) -> None:
    receiver = MemoryReceiver()
    claims, started = claims_with(harness, receiver), now()
    # Its caller waited for the answer, and its worker is gone.
    await claims.enter(KEY, None)
    second, third = TurnMessage(TurnKey(ANN, "2"), now(), "And then?"), TurnMessage(TurnKey(ANN, "3"), now(), "And?")
    await claims.enter(second.key, second)
    lease = await brought(receiver, claims, 200)
    assert lease.record.key == second.key
    assert 2 * LEASE < now() - started < 5 * LEASE
    await lease.close(TurnState.ANSWERED, ())
    next_one = await claims.enter(third.key, third)
    assert next_one is not None
    # A turn that waited for it in its worker finds the same.
    assert await claims.predecessors.wait(next_one) is None


@pytest.mark.parametrize("away", [600, 2 * 3600], ids=["ten minutes", "two hours"])
@pytest.mark.parametrize("looked_at_first", ["2", "3"])
def test_two_that_wait_for_a_lost_one_continue_in_their_order(
    away: float, looked_at_first: str, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        receiver = MemoryReceiver()
        claims, taken = claims_with(harness, receiver), list[str]()
        await claims.enter(KEY, None)
        for name in ("2", "3"):
            message = TurnMessage(TurnKey(ANN, name), now(), "And then?")
            lease = await claims.enter(message.key, message)
            assert lease is not None
            await lease.release()
        await asyncio.sleep(away)
        until = now() + 500
        while len(taken) < 2 and now() < until:
            brought = [
                (TurnMessage.from_json(one.body), one) for one in await receiver.receive(16, visibility_timeout=600)
            ]
            brought.sort(key=lambda each: each[0].key.activity_id != looked_at_first)
            for message, one in brought:
                lease = await claim(claims, message)
                await receiver.delete(one.receipt)
                if lease is not None:
                    taken.append(lease.record.key.activity_id)
                    await lease.close(TurnState.ANSWERED, ())
            await asyncio.sleep(1)
        assert taken == ["2", "3"]

    played(TEAMS_GROUP, tmp_path, script)


@in_virtual_time
async def test_a_new_question_does_not_wait_for_one_that_was_lost_long_ago(harness: TurnHarness) -> None:
    claims = claims_with(harness, MemoryReceiver())
    for name in ("1", "2"):
        await claims.enter(TurnKey(ANN, name), None)
    await asyncio.sleep(3700)
    new, asked = await claims.enter(TurnKey(ANN, "3"), None), now()
    assert new is not None
    assert await claims.predecessors.wait(new) is None
    assert now() - asked < 2
    assert await harness.store.start(new.record) is not None, "those that an outage has left open lose their order"


@in_virtual_time
async def test_who_waits_in_its_worker_goes_to_the_queue_when_nobody_has_the_turn_before(harness: TurnHarness) -> None:
    claims, started = claims_with(harness, MemoryReceiver()), now()
    first, second = await claims.enter(KEY, MESSAGE), await claims.enter(TurnKey(ANN, "2"), None)
    assert first is not None
    assert second is not None
    async with first:
        waiting = asyncio.create_task(claims.predecessors.wait(second))
        await asyncio.sleep(150)
        assert not waiting.done(), "it is being worked on"
    lost = await waiting
    assert lost is not None
    assert lost.ticket == first.record.ticket
    assert LEASE < now() - started - 150 < 4 * LEASE


@in_virtual_time
async def test_time_in_which_storage_did_not_answer_does_not_count_as_silence_of_others(harness: TurnHarness) -> None:
    claims, start = claims_with(harness, MemoryReceiver()), harness.store.start
    await claims.enter(KEY, MESSAGE)
    second = await claims.enter(TurnKey(ANN, "2"), None)
    assert second is not None
    harness.store.start = refuse  # type: ignore[method-assign]
    waiting = asyncio.create_task(claims.predecessors.wait(second))
    await asyncio.sleep(300)
    harness.store.start = start  # type: ignore[method-assign]
    restored = now()
    assert await waiting is not None
    assert now() - restored > LEASE, "the worker of the first had no time to come back"


@in_virtual_time
async def test_a_turn_that_was_never_entered_and_comes_behind_another_goes_back_to_the_queue(
    harness: TurnHarness,
) -> None:
    receiver = MemoryReceiver()
    claims, later = claims_with(harness, receiver), TurnMessage(TurnKey(ANN, "2"), now(), "And then?")
    first = await claims.enter(KEY, MESSAGE)
    assert first is not None
    async with first:
        assert await claim(claims, later) is None
        await asyncio.sleep(10)
        await first.close(TurnState.ANSWERED, ())
    assert (await brought(receiver, claims, 10)).record.key == later.key


@in_virtual_time
async def test_who_cannot_learn_whether_an_earlier_turn_is_open_goes_on_waiting(harness: TurnHarness) -> None:
    claims, start, started = claims_with(harness, MemoryReceiver()), harness.store.start, now()
    first, second = await claims.enter(KEY, MESSAGE), await claims.enter(TurnKey(ANN, "2"), None)
    assert first is not None
    assert second is not None
    harness.store.start = refuse  # type: ignore[method-assign]
    waiting = asyncio.create_task(claims.predecessors.wait(second))
    await asyncio.sleep(10)
    assert not waiting.done(), "the second answer comes before the first"
    await first.close(TurnState.ANSWERED, ())
    harness.store.start = start  # type: ignore[method-assign]
    await waiting
    assert now() - started < 13


class Host:
    """A Functions host with 32 places, before `worker`; `answered` names conversation and turn, as they came."""

    def __init__(self, harness: TurnHarness, worker: Worker) -> None:
        self._harness = harness
        self._worker = worker
        self._news = asyncio.Condition()
        self.answered: list[tuple[str, str]] = []

    async def serve(self, turns: int) -> None:
        function = QueueFunction("process_queue_message", "turns", "AzureWebJobsStorage", "msg", False, self._resume)
        receiver, poison = self._harness.store.queue("turns"), self._harness.store.queue("turns-poison")
        options = QueueOptions(new_batch_threshold=16, max_polling_interval_seconds=2.0)
        listener = QueueListener(function, receiver, poison, options, lock_seconds=600.0)
        listening = asyncio.create_task(listener.run())
        async with asyncio.timeout(2000), self._news:
            await self._news.wait_for(lambda: len(self.answered) == turns)
        listener.stop()
        await listening

    async def _resume(self, msg: Any) -> None:
        message = TurnMessage.from_json(msg.get_body())
        lease = await claim(self._worker.runner, message)
        if lease is None:
            return
        key = message.key
        turn = Turn(key.activity_id, key.conversation, message.payload)
        await self._worker.runner.execute(lease, turn, self._worker.reply)
        found = await self._harness.store.find(key)
        if found is not None and found.state is not TurnState.STARTED:
            async with self._news:
                self.answered.append((key.conversation.conversation, key.activity_id))
                self._news.notify_all()


def test_all_questions_of_a_full_worker_that_ends_are_answered_in_order_by_one_host(tmp_path: Path) -> None:
    people, questions = 40, 3

    async def script(harness: TurnHarness) -> None:
        full, asked = harness.worker(30), []
        for number in range(questions):
            for person in range(people):
                turn = Turn(str(number), ConversationKey("tenant", f"person {person}"), "How?")
                asked.append(asyncio.create_task(full.runner.run(turn, full.reply, payload="How?")))
                await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        for asking in asked:
            asking.cancel()
        await asyncio.wait(asked)
        ended, host = now(), Host(harness, harness.worker(30))
        await host.serve(people * questions)
        for person in range(people):
            came = [turn for conversation, turn in host.answered if conversation == f"person {person}"]
            assert came == ["0", "1", "2"]
        assert now() - ended < 2 * 30 * people * questions / 32, "places were taken by turns that could not go on"

    played(TEAMS_GROUP, tmp_path, script)
