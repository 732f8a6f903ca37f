"""In which order the turns of a conversation are started, on SQLite, PostgreSQL and Azurite."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.storage.ledger import BeginResult, ConversationStore, Predecessor, TurnState
from tests.fakes import stores
from tests.fakes.clock import Clock
from tests.fakes.stores import ANN, exchange, turn


class Delays(Clock):
    """Seconds pass with every look at it."""

    passing = 0.0

    def __call__(self) -> float:
        self.now += self.passing
        return self.now


@pytest.fixture
def clock() -> Delays:
    return Delays()


async def begin(store: ConversationStore, activity: str, asked: int) -> BeginResult:
    return await stores.begin(store, replace(turn(activity), ticket=asked))


async def test_the_earlier_question_is_started_first_even_if_it_is_entered_later(store: ConversationStore) -> None:
    running, later = (await begin(store, "a1", 1000)).record, (await begin(store, "a3", 3000)).record
    earlier = (await begin(store, "a2", 2000)).record
    assert [record.ticket for record in (running, earlier, later)] == [1000, 2000, 3000]
    assert await store.start(earlier) == Predecessor(1000, 60.0)
    await store.end(running, TurnState.ANSWERED, exchange(1))
    assert await store.start(later) == Predecessor(2000, 60.0)
    assert await store.start(earlier) is None
    assert await store.start(earlier) is None
    await store.end(earlier, TurnState.ANSWERED, exchange(2))
    assert await store.start(later) is None
    await store.end(later, TurnState.ANSWERED, exchange(3))
    assert await store.recent(ANN, 9) == [*exchange(1), *exchange(2), *exchange(3)]


async def test_no_turn_gets_a_ticket_before_a_started_one(store: ConversationStore) -> None:
    running = await begin(store, "a3", 3000)
    assert not running.has_predecessor
    late = await begin(store, "a1", 1000)
    assert late.has_predecessor
    assert (late.record.ticket, await store.start(late.record)) == (3001, Predecessor(3000, 60.0))
    await store.end(running.record, TurnState.ANSWERED, exchange(1))
    assert await store.start(late.record) is None
    assert (await begin(store, "a2", 3001)).record.ticket == 3002
    await store.end(late.record, TurnState.ANSWERED, exchange(2))
    assert (await begin(store, "a0", 500)).record.ticket == 3003, "remembered before what was answered before it"


async def test_questions_of_the_same_moment_keep_the_order_of_their_entry(store: ConversationStore) -> None:
    records = [(await begin(store, f"a{n}", 1000)).record for n in range(4)]
    assert [record.ticket for record in records] == [1000, 1001, 1002, 1003]


async def test_a_turn_that_took_long_to_enter_is_not_started_at_once(store: ConversationStore, clock: Delays) -> None:
    await store.end((await begin(store, "a0", 1)).record, TurnState.ANSWERED, [])
    clock.passing = 0.6
    later = await begin(store, "a2", 2000)
    assert (later.has_predecessor, later.delayed) == (True, True)
    clock.passing = 0.0
    earlier = await begin(store, "a1", 1000)
    assert (earlier.has_predecessor, earlier.delayed) == (False, False)
    assert await store.start(later.record) == Predecessor(1000, 60.0)
    await store.end(earlier.record, TurnState.ANSWERED, exchange(1))
    assert await store.start(later.record) is None


async def test_a_turn_that_is_to_wait_is_entered_but_not_started(store: ConversationStore) -> None:
    await store.end((await begin(store, "a0", 1)).record, TurnState.ANSWERED, [])
    later = await store.begin(replace(turn("a2"), ticket=2000), history_limit=10, waits=True)
    assert later is not None
    assert (later.has_predecessor, later.delayed) == (True, True)
    earlier = await begin(store, "a1", 1000)
    assert earlier.record.ticket == 1000
    assert await store.start(later.record) == Predecessor(1000, 60.0)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["postgres", "azure"], indirect=True)
async def test_the_first_call_of_a_worker_may_take_longer(store: ConversationStore, clock: Delays) -> None:
    clock.passing = 0.8
    first = await begin(store, "a1", 1000)
    assert not first.has_predecessor
    await store.end(first.record, TurnState.ANSWERED, [])
    assert (await begin(store, "a2", 2000)).delayed


async def test_a_turn_entered_while_another_starts_is_before_or_after_it_for_both(
    store: ConversationStore,
) -> None:
    for n in range(12):
        running = (await begin(store, f"running {n}", n * 1000)).record
        later = (await begin(store, f"later {n}", n * 1000 + 500)).record
        await store.end(running, TurnState.ANSWERED, [])
        ahead, earlier = await asyncio.gather(store.start(later), begin(store, f"earlier {n}", n * 1000 + 100))
        assert (ahead is None) == earlier.has_predecessor == (earlier.record.ticket > later.ticket), n
        await store.end(earlier.record, TurnState.ANSWERED, [])
        assert await store.start(later) is None
        await store.end(later, TurnState.ANSWERED, [])


async def test_a_skipped_turn_can_be_started_after_those_that_overtook_it(
    store: ConversationStore,
) -> None:
    first, then = (await begin(store, "a1", 1000)).record, (await begin(store, "a2", 2000)).record
    await store.skip(then, Predecessor(1000, 60.0))
    assert await store.start(then) is None
    again = await store.find(first.key)
    assert again is not None
    assert again.lease_until == 0
    assert await store.start(replace(again, ticket=5000)) == Predecessor(2000, 60.0)
    await store.end(then, TurnState.ANSWERED, exchange(1))
    assert await store.start(replace(again, ticket=5000)) is None
    await store.end(again, TurnState.ANSWERED, exchange(2))
    assert (await begin(store, "a3", 3000)).has_predecessor is False
