"""What every storage engine promises of forgetting and of age, on SQLite, PostgreSQL and Azurite."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.storage.conversations import ConversationKey
from app.storage.ledger import ConversationStore, Predecessor, TurnKey, TurnRecord, TurnState
from tests.fakes.clock import Clock
from tests.fakes.stores import ANN, BOB, exchange, turn

THREAD = replace(ANN, thread="19:1/§")
OTHER_TENANT = replace(ANN, tenant="other tenant")
DAY = 24 * 3600.0


async def begin(store: ConversationStore, activity: str, key: ConversationKey = ANN) -> TurnRecord:
    result = await store.begin(turn(activity, key), history_limit=0)
    assert result is not None, "taken for a repeat"
    return result.record


async def answered(store: ConversationStore, n: int, key: ConversationKey = ANN) -> TurnKey:
    record = await begin(store, f"a{n}", key)
    await store.end(record, TurnState.ANSWERED, exchange(n))
    return record.key


async def test_conversations_tenants_and_threads_never_mix(store: ConversationStore) -> None:
    await answered(store, 1)
    for key in (BOB, THREAD, OTHER_TENANT, ConversationKey("tenant\n" + ANN.conversation, "")):
        assert await store.recent(key, 9) == []
    await answered(store, 2, THREAD)
    assert await store.recent(ANN, 9) == exchange(1)
    assert await store.recent(THREAD, 9) == exchange(2)


async def test_forgetting_a_conversation_leaves_others_and_what_was_entered(store: ConversationStore) -> None:
    key = await answered(store, 1)
    await answered(store, 1, BOB)
    await store.forget(ANN)
    await store.forget(ANN)
    assert await store.recent(ANN, 9) == []
    assert await store.recent(BOB, 9) == exchange(1)
    assert await store.find(key) is not None
    assert await store.begin(turn("a1", owner="worker-2"), history_limit=1) is None
    await answered(store, 2)
    assert await store.recent(ANN, 9) == exchange(2)


@pytest.mark.parametrize("threads", [False, True])
async def test_forgetting_a_conversation_closes_what_is_suspended_and_keeps_no_text_of_it(
    store: ConversationStore, threads: bool
) -> None:
    for number, key in enumerate((ANN, THREAD, BOB)):
        record = replace(await begin(store, f"a{number}", key), payload="Delete it", checkpoint="It is empty.")
        await store.end(record, TurnState.SUSPENDED, [])
    await store.forget(ANN, threads=threads)
    kept = {}
    for number, key in enumerate((ANN, THREAD, BOB)):
        found = await store.find(TurnKey(key, f"a{number}"))
        assert found is not None
        kept[key] = (found.state, found.payload + found.checkpoint)
    suspended, closed = (TurnState.SUSPENDED, "Delete itIt is empty."), (TurnState.FAILED, "")
    assert kept == {ANN: closed, THREAD: closed if threads else suspended, BOB: suspended}
    assert await store.begin(turn("a0", owner="worker-2"), history_limit=1) is None
    await answered(store, 7)


async def test_forgetting_a_thread_leaves_the_conversation(store: ConversationStore) -> None:
    await answered(store, 1)
    await answered(store, 2, THREAD)
    await store.forget(THREAD)
    assert (await store.recent(ANN, 9), await store.recent(THREAD, 9)) == (exchange(1), [])


async def test_a_conversation_is_forgotten_with_all_its_threads_or_without(store: ConversationStore) -> None:
    threads = [replace(ANN, thread=f"thread {n}") for n in range(3)]
    entered = [await answered(store, n, key) for n, key in enumerate([ANN, *threads])]
    await answered(store, 9, OTHER_TENANT)
    await store.forget(ANN)
    assert await store.recent(ANN, 9) == []
    assert await store.recent(threads[0], 9) == exchange(1)
    await store.forget(ANN, threads=True)
    assert [await store.recent(key, 9) for key in threads] == [[], [], []]
    assert await store.recent(OTHER_TENANT, 9) == exchange(9)
    assert all([await store.find(key) is not None for key in entered])


async def test_more_than_fits_in_one_transaction_is_forgotten(store: ConversationStore) -> None:
    record = await begin(store, "a1")
    await store.end(record, TurnState.ANSWERED, [*exchange(1)] * 45)
    await store.end(await begin(store, "a2"), TurnState.ANSWERED, [*exchange(2)] * 45)
    assert len(await store.recent(ANN, 500)) == 180
    await asyncio.gather(store.forget(ANN), store.forget(ANN))
    assert await store.recent(ANN, 500) == []


async def test_what_is_old_is_deleted_and_what_is_younger_stays(store: ConversationStore, clock: Clock) -> None:
    old = await answered(store, 1)
    clock.now += DAY
    young = await answered(store, 2, BOB)
    assert await store.delete_before(clock.now - 60) > 0
    assert (await store.recent(ANN, 9), await store.find(old)) == ([], None)
    assert await store.recent(BOB, 9) == exchange(2)
    assert await store.find(young) is not None
    assert await store.delete_before(clock.now - 60) == 0


async def test_turns_go_on_in_order_after_everything_old_has_been_deleted(
    store: ConversationStore, clock: Clock
) -> None:
    await answered(store, 1)
    clock.now += DAY
    await answered(store, 2)
    clock.now += DAY
    await store.delete_before(clock.now - DAY - 60)
    await answered(store, 3)
    assert await store.recent(ANN, 9) == [*exchange(2), *exchange(3)]
    clock.now += 30 * DAY
    assert await store.delete_before(clock.now) > 0
    await answered(store, 4)
    assert await store.recent(ANN, 9) == exchange(4)


async def test_an_open_turn_is_deleted_when_nobody_has_renewed_it_for_so_long(
    store: ConversationStore, clock: Clock
) -> None:
    abandoned = await begin(store, "abandoned")
    worked_on = await begin(store, "worked on")
    clock.now += DAY
    worked_on = await store.change(worked_on.changed(lease_until=99))
    waiting = await begin(store, "waiting")
    assert await store.start(waiting) == Predecessor(abandoned.ticket, abandoned.lease_until)
    assert await store.delete_before(clock.now - 60) == 1
    assert await store.find(abandoned.key) is None
    assert await store.find(worked_on.key) == worked_on
    assert await store.start(waiting) == Predecessor(worked_on.ticket, 99)
    await store.end(worked_on, TurnState.ANSWERED, exchange(1))
    assert await store.start(waiting) is None


async def test_a_deleted_abandoned_turn_is_no_predecessor(store: ConversationStore, clock: Clock) -> None:
    await begin(store, "abandoned")
    clock.now += 30 * DAY
    assert await store.delete_before(clock.now) == 1
    following = await store.begin(turn("next"), history_limit=0)
    assert following is not None
    assert not following.has_predecessor
