"""What every storage engine promises of small records, of forgetting and of age, on SQLite and on Azurite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.storage.conversations import ConversationKey
from app.storage.keyed_records import Record, RecordKey
from app.storage.ledger import ConcurrentUpdateError, Predecessor, Store, TurnKey, TurnRecord, TurnState
from tests.fakes.azurite import Azurite, started
from tests.fakes.stores import ANN, BOB, ENGINES, Clock, exchange, opened_store, turn

THREAD = replace(ANN, thread="19:1/§")
OTHER_TENANT = replace(ANN, tenant="other tenant")
DECISION = RecordKey(ANN, "run 17: repair?")
DAY = 24 * 3600.0


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    yield from started()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with opened_store(request, tmp_path, clock) as store:
        yield store


async def payload(store: Store, activity: str, key: ConversationKey = ANN) -> TurnRecord:
    result = await store.begin(turn(activity, key), remember=0)
    assert result is not None, "taken for a repeat"
    return result.record


async def answered(store: Store, n: int, key: ConversationKey = ANN) -> TurnKey:
    record = await payload(store, f"a{n}", key)
    await store.end(record, TurnState.ANSWERED, exchange(n))
    return record.key


async def test_a_record_is_made_once_and_then_changed_by_who_read_it_last(store: Store) -> None:
    assert await store.read(DECISION) is None
    first = await store.write(Record(DECISION, "yes"))
    assert await store.read(DECISION) == first
    assert first.value == "yes"
    second = await store.write(replace(first, value=""))
    assert second.version != first.version
    for late in (Record(DECISION, "no"), Record(DECISION, "yes"), replace(first, value=""), replace(first, value="no")):
        with pytest.raises(ConcurrentUpdateError):
            await store.write(late)
    assert await store.read(DECISION) == second


async def test_of_many_who_make_the_same_record_one_is_first(store: Store) -> None:
    results = await asyncio.gather(*(store.write(Record(DECISION, "yes")) for _ in range(6)), return_exceptions=True)
    (first,) = [result for result in results if isinstance(result, Record)]
    assert all(isinstance(result, ConcurrentUpdateError) for result in results if result is not first)
    assert await store.read(DECISION) == first


async def test_of_many_who_change_a_record_one_wins(store: Store) -> None:
    first = await store.write(Record(DECISION, "0"))
    writes = (store.write(replace(first, value=str(n))) for n in range(6))
    results = await asyncio.gather(*writes, return_exceptions=True)
    (winner,) = [result for result in results if isinstance(result, Record)]
    assert all(isinstance(result, ConcurrentUpdateError) for result in results if result is not winner)
    assert await store.read(DECISION) == winner


async def test_a_record_belongs_to_its_conversation_and_thread(store: Store) -> None:
    await store.write(Record(DECISION, "ann's"))
    for key in (BOB, THREAD, OTHER_TENANT):
        assert await store.read(replace(DECISION, conversation=key)) is None


@pytest.mark.parametrize("value", ["", "x" * 100_000, "😀" * 40_000, "a\ud83d"])
async def test_a_record_is_kept_whole(store: Store, value: str) -> None:
    written = await store.write(Record(DECISION, value))
    assert written.value == value.replace("\ud83d", "\ufffd")
    assert await store.read(DECISION) == written


async def test_a_version_of_a_record_that_was_forgotten_is_worth_nothing(store: Store) -> None:
    old = await store.write(Record(DECISION, "old"))
    await store.forget(ANN)
    with pytest.raises(ConcurrentUpdateError):
        await store.write(replace(old, value="older"))
    new = await store.write(Record(DECISION, "new"))
    with pytest.raises(ConcurrentUpdateError):
        await store.write(replace(old, value="older"))
    assert await store.read(DECISION) == new


async def test_conversations_tenants_and_threads_never_mix(store: Store) -> None:
    await answered(store, 1)
    for key in (BOB, THREAD, OTHER_TENANT, ConversationKey("tenant\n" + ANN.conversation, "")):
        assert await store.recent(key, 9) == []
    await answered(store, 2, THREAD)
    assert await store.recent(ANN, 9) == exchange(1)
    assert await store.recent(THREAD, 9) == exchange(2)


async def test_forgetting_a_conversation_leaves_others_and_what_was_entered(store: Store) -> None:
    key = await answered(store, 1)
    await answered(store, 1, BOB)
    await store.write(Record(DECISION, "yes"))
    await store.forget(ANN)
    await store.forget(ANN)
    assert await store.recent(ANN, 9) == []
    assert await store.read(DECISION) is None
    assert await store.recent(BOB, 9) == exchange(1)
    assert await store.find(key) is not None
    assert await store.begin(turn("a1", owner="worker-2"), remember=1) is None
    await answered(store, 2)
    assert await store.recent(ANN, 9) == exchange(2)


async def test_a_lasting_record_outlives_what_is_forgotten_until_the_app_is_removed(store: Store) -> None:
    lasting = replace(DECISION, lasting=True)
    await store.write(Record(DECISION, "no"))
    kept = await store.write(Record(lasting, "yes"))
    assert await store.read(lasting) == kept
    await store.forget(ANN)
    assert (await store.read(DECISION), await store.read(lasting)) == (None, kept)
    await store.forget(ANN, threads=True)
    assert await store.read(lasting) is None


async def test_a_lasting_record_goes_when_it_is_old(store: Store, clock: Clock) -> None:
    lasting = replace(DECISION, lasting=True)
    await store.write(Record(lasting, "yes"))
    assert await store.delete_before(clock.now + 1) == 1
    assert await store.read(lasting) is None


async def test_forgetting_a_thread_leaves_the_conversation(store: Store) -> None:
    await answered(store, 1)
    await answered(store, 2, THREAD)
    await store.forget(THREAD)
    assert (await store.recent(ANN, 9), await store.recent(THREAD, 9)) == (exchange(1), [])


async def test_a_conversation_is_forgotten_with_all_its_threads_or_without(store: Store) -> None:
    threads = [replace(ANN, thread=f"thread {n}") for n in range(3)]
    entered = [await answered(store, n, key) for n, key in enumerate([ANN, *threads])]
    await answered(store, 9, OTHER_TENANT)
    await store.write(Record(RecordKey(threads[0], "r"), "v"))
    await store.forget(ANN)
    assert await store.recent(ANN, 9) == []
    assert await store.recent(threads[0], 9) == exchange(1)
    await store.forget(ANN, threads=True)
    assert [await store.recent(key, 9) for key in threads] == [[], [], []]
    assert await store.read(RecordKey(threads[0], "r")) is None
    assert await store.recent(OTHER_TENANT, 9) == exchange(9)
    assert all([await store.find(key) is not None for key in entered])


async def test_more_than_fits_in_one_transaction_is_forgotten(store: Store) -> None:
    record = await payload(store, "a1")
    await store.end(record, TurnState.ANSWERED, [*exchange(1)] * 45)
    await store.end(await payload(store, "a2"), TurnState.ANSWERED, [*exchange(2)] * 45)
    assert len(await store.recent(ANN, 500)) == 180
    await asyncio.gather(store.forget(ANN), store.forget(ANN))
    assert await store.recent(ANN, 500) == []


async def test_what_is_old_is_deleted_and_what_is_younger_stays(store: Store, clock: Clock) -> None:
    old = await answered(store, 1)
    await store.write(Record(DECISION, "old"))
    renewed = await store.write(Record(replace(DECISION, name="renewed"), "old"))
    clock.now += DAY
    await store.write(replace(renewed, value="new"))
    young = await answered(store, 2, BOB)
    assert await store.delete_before(clock.now - 60) > 0
    assert (await store.recent(ANN, 9), await store.read(DECISION), await store.find(old)) == ([], None, None)
    assert await store.recent(BOB, 9) == exchange(2)
    assert await store.find(young) is not None
    assert await store.read(renewed.key) is not None
    assert await store.delete_before(clock.now - 60) == 0


async def test_turns_go_on_in_order_after_everything_old_has_been_deleted(store: Store, clock: Clock) -> None:
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


async def test_an_open_turn_is_deleted_when_nobody_has_renewed_it_for_so_long(store: Store, clock: Clock) -> None:
    abandoned = await payload(store, "abandoned")
    worked_on = await payload(store, "worked on")
    clock.now += DAY
    worked_on = await store.change(worked_on.changed(lease_until=99))
    waiting = await payload(store, "waiting")
    assert await store.start(waiting) == Predecessor(abandoned.ticket, abandoned.lease_until)
    assert await store.delete_before(clock.now - 60) == 1
    assert await store.find(abandoned.key) is None
    assert await store.find(worked_on.key) == worked_on
    assert await store.start(waiting) == Predecessor(worked_on.ticket, 99)
    await store.end(worked_on, TurnState.ANSWERED, exchange(1))
    assert await store.start(waiting) is None


async def test_a_turn_waits_for_none_that_was_abandoned_and_deleted(store: Store, clock: Clock) -> None:
    await payload(store, "abandoned")
    clock.now += 30 * DAY
    assert await store.delete_before(clock.now) == 1
    following = await store.begin(turn("next"), remember=0)
    assert following is not None
    assert not following.has_predecessor
