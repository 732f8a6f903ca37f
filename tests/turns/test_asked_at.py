"""Questions of a conversation are answered in the order in which they were asked, whatever storage does meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bot.channel import TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.storage.ledger import BeginResult, TurnKey, TurnRecord, TurnState
from app.turns.ordering import when_asked
from app.turns.queue_message import TurnMessage
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.turn_harness import ANN, TurnHarness, Worker, claim, claims_with, in_virtual_time, now, played

FIRST, SECOND = "What first?", "And what second?"


class Outage:
    """While it lasts storage answers nobody; after it, who has asked last is answered first."""

    def __init__(self, harness: TurnHarness) -> None:
        self._run_transaction = harness.store._file.run_transaction
        self._waiting: list[asyncio.Future[None]] = []
        harness.store._file.run_transaction = self.run_transaction  # type: ignore[method-assign]
        self._lasts = True

    async def run_transaction(self, work: Callable[..., Any]) -> Any:
        if self._lasts:
            self._waiting.append(asyncio.get_running_loop().create_future())
            await self._waiting[-1]
        return await self._run_transaction(work)

    def end(self) -> None:
        self._lasts = False
        for waiting in reversed(self._waiting):
            if not waiting.done():
                waiting.set_result(None)


async def asked_in_an_outage(
    harness: TurnHarness, one: Worker, two: Worker, *, said_by_channel: bool = True
) -> list[str]:
    """The questions in the order in which they were answered."""
    outage, answered = Outage(harness), list[str]()

    async def ask(worker: Worker, question: str, after: float) -> None:
        await asyncio.sleep(after)
        await worker.ask(question, question, now() if said_by_channel else None)
        answered.append(question)

    asking = [asyncio.create_task(ask(one, FIRST, 1.0)), asyncio.create_task(ask(two, SECOND, 2.5))]
    await asyncio.sleep(5)
    outage.end()
    async with asyncio.timeout(60):
        await asyncio.gather(*asking)
    return answered


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, TEAMS_GROUP], ids=lambda channel: channel.name)
@pytest.mark.parametrize("workers", ["one worker", "two workers"])
def test_two_questions_that_come_while_storage_does_not_answer_keep_their_order(
    channel: Channel, workers: str, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        one = harness.worker()
        assert await asked_in_an_outage(harness, one, one if workers == "one worker" else harness.worker()) == [
            FIRST,
            SECOND,
        ]

    _, (_, memory) = played(channel, tmp_path, script)
    assert [message.text for message in memory if message.role == "user"] == [FIRST, SECOND]


@in_virtual_time
async def test_at_one_worker_the_order_needs_no_word_of_the_channel(harness: TurnHarness) -> None:
    worker = harness.worker()
    assert await asked_in_an_outage(harness, worker, worker, said_by_channel=False) == [FIRST, SECOND]


@in_virtual_time
async def test_a_question_waits_for_one_that_came_before_it_at_the_same_worker_and_is_not_entered_yet(
    harness: TurnHarness,
) -> None:
    claims, begin = claims_with(harness, MemoryReceiver()), harness.store.begin
    first = TurnMessage(TurnKey(ANN, "1"), now(), FIRST)
    second = TurnMessage(TurnKey(ANN, "2"), now() + 1, SECOND)

    async def slow_for_the_first(turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        if turn.key == first.key:
            await asyncio.sleep(4)
        return await begin(turn, history_limit=history_limit)

    harness.store.begin = slow_for_the_first  # type: ignore[method-assign]
    one = asyncio.create_task(claims.enter(first.key, first))
    await asyncio.sleep(1)
    later = await claims.enter(second.key, second)
    assert one.done()
    assert later is not None
    assert later.has_predecessor, "answered before the first"


@in_virtual_time
async def test_one_that_could_not_be_entered_holds_up_the_next_no_longer(harness: TurnHarness) -> None:
    claims, begin = claims_with(harness, MemoryReceiver()), harness.store.begin

    async def never_for_the_first(turn: TurnRecord, *, history_limit: int, waits: bool = False) -> BeginResult | None:
        if turn.key.activity_id == "1":
            await asyncio.Event().wait()
        return await begin(turn, history_limit=history_limit)

    harness.store.begin = never_for_the_first  # type: ignore[method-assign]
    one = asyncio.create_task(claims.enter(TurnKey(ANN, "1"), None))
    await asyncio.sleep(1)
    later = await claims.enter(TurnKey(ANN, "2"), None)
    await asyncio.wait([one])
    assert one.exception() is not None
    assert later is not None
    assert not later.has_predecessor


@in_virtual_time
async def test_a_question_whose_worker_vanished_before_it_was_entered_still_goes_before_those_that_wait(
    harness: TurnHarness,
) -> None:
    claims = claims_with(harness, MemoryReceiver())
    running, later = TurnMessage(TurnKey(ANN, "1"), now(), "?"), TurnMessage(TurnKey(ANN, "3"), now() + 2, SECOND)
    lost = TurnMessage(TurnKey(ANN, "2"), now() + 1, FIRST)
    lease, waiting = await claims.enter(running.key, running), await claims.enter(later.key, later)
    assert lease is not None
    assert waiting is not None
    await asyncio.sleep(30)
    assert await claim(claims, lost) is None, "it has to wait for the one that runs"
    await lease.close(TurnState.ANSWERED, ())
    found = await harness.store.find(lost.key)
    predecessor = await harness.store.start(waiting.record)
    assert found is not None
    assert predecessor is not None
    assert predecessor.ticket == found.ticket


MOMENTS = st.floats(min_value=0, max_value=4e9)


@given(MOMENTS | st.none(), MOMENTS)
def test_what_a_channel_claims_is_believed_within_two_minutes(claimed: float | None, came: float) -> None:
    asked = when_asked(claimed, came)
    assert abs(asked - came) <= 120.001
    assert asked == (came if claimed is None else claimed) or abs(claimed - came) > 119.999  # type: ignore[operator]


@given(st.lists(MOMENTS, min_size=2, max_size=2), st.lists(MOMENTS, min_size=2, max_size=2))
def test_of_two_questions_that_come_in_the_order_of_their_times_the_first_stays_first(
    claimed: list[float], came: list[float]
) -> None:
    first, second = (when_asked(*each) for each in zip(sorted(claimed), sorted(came), strict=True))
    assert first <= second
