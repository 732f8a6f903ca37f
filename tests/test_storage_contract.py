"""What every storage engine promises, on SQLite and on Azurite."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from azure.data.tables.aio import TableServiceClient

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import Begun, Changed, Store, TurnKey, TurnRecord, TurnState
from app.storage.sqlite import SqliteStore
from app.storage.tables import TableStore
from tests.fakes.azurite import Azurite, installed

ANN = ConversationKey("tenant", "msteams/19:ann@thread.v2;messageid=1 / #?\\ Größe")
BOB = ConversationKey("tenant", "bob")


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to install Azurite with")
    with Azurite(installed()) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", pytest.param("tables", marks=pytest.mark.slow)])
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    made: Store
    if request.param == "sqlite":
        made = SqliteStore(tmp_path / "agent.sqlite", clock=clock)
    else:
        service = TableServiceClient.from_connection_string(request.getfixturevalue("azurite").connection_string)
        name = f"t{uuid.uuid4().hex}"
        async with service:
            await service.create_table(name)
            made = TableStore(service.get_table_client(name), clock=clock)
            yield made
            return
    yield made
    await made.close()


def turn(activity: str = "a1", key: ConversationKey = ANN, owner: str = "worker-1") -> TurnRecord:
    return TurnRecord(TurnKey(key, activity), 0, TurnState.STARTED, owner, 60.0, begun='{"question": "Why?"}')


async def begun(store: Store, record: TurnRecord | None = None, remember: int = 10) -> Begun:
    result = await store.begin(record or turn(), remember=remember)
    assert result is not None, "taken for a repeat"
    return result


def exchange(n: object) -> list[StoredMessage]:
    return [StoredMessage("user", f"question {n}"), StoredMessage("assistant", f"answer {n}", complete=n != 2)]


async def answered(store: Store, n: int, key: ConversationKey = ANN) -> None:
    record = (await begun(store, turn(f"a{n}", key))).record
    await store.end(record, TurnState.ANSWERED, exchange(n))


async def test_a_turn_is_entered_once_and_its_repeat_is_known(store: Store) -> None:
    first = await begun(store)
    assert await store.begin(turn(owner="worker-2"), remember=1) is None
    assert await store.find(first.record.key) == first.record
    await store.end(first.record, TurnState.ANSWERED, exchange(1))
    assert await store.begin(turn(owner="worker-2"), remember=1) is None


async def test_the_same_activity_id_in_another_conversation_is_another_turn(store: Store) -> None:
    await begun(store)
    assert not (await begun(store, turn(key=BOB))).waits


async def test_a_worker_whose_own_entry_was_answered_by_nobody_finds_it_again(store: Store) -> None:
    """A request whose answer is lost is sent again by the client, and must not be taken for Teams' repeat."""
    if isinstance(store, SqliteStore):
        pytest.skip("nothing lies between SQLite and its file")
    first = await begun(store)
    again = await store.begin(turn(), remember=1)
    assert again is not None
    assert again.record == first.record


async def test_of_many_workers_that_get_the_same_activity_one_enters_it(store: Store) -> None:
    results = await asyncio.gather(*(store.begin(turn(owner=f"worker-{n}"), remember=1) for n in range(6)))
    assert sum(result is not None for result in results) == 1


async def test_turns_of_a_conversation_get_tickets_in_the_order_they_came(store: Store) -> None:
    first, second = await begun(store, turn("a1")), await begun(store, turn("a2"))
    assert first.record.ticket < second.record.ticket
    assert (first.waits, second.waits) == (False, True)
    assert await store.waits(second.record)
    await store.end(first.record, TurnState.FAILED, [])
    assert not await store.waits(second.record)


async def test_turns_that_come_at_once_get_different_tickets_and_one_does_not_wait(store: Store) -> None:
    results = await asyncio.gather(*(begun(store, turn(f"a{n}")) for n in range(6)))
    assert len({result.record.ticket for result in results}) == 6
    assert sum(not result.waits for result in results) == 1
    assert min(results, key=lambda result: result.record.ticket).waits is False


async def test_a_turn_begins_with_the_last_messages_oldest_first(store: Store) -> None:
    for n in range(1, 5):
        await answered(store, n)
    assert (await begun(store, turn("a9"), remember=4)).history == (*exchange(3), *exchange(4))
    assert await store.recent(ANN, 4) == [*exchange(3), *exchange(4)]
    assert await store.recent(ANN, 3) == [*exchange(3)[1:], *exchange(4)]
    assert await store.recent(BOB, 4) == []


async def test_only_who_read_the_row_last_may_write_it(store: Store) -> None:
    mine = (await begun(store)).record
    renewed = await store.change(mine.changed(lease_until=90.5))
    assert (await store.find(mine.key)) == renewed
    assert renewed.lease_until == 90.5
    for late in (mine.changed(owner="worker-2", tries=2), mine.changed(lease_until=99)):
        with pytest.raises(Changed):
            await store.change(late)
    with pytest.raises(Changed):
        await store.end(mine.changed(owner="worker-2"), TurnState.ANSWERED, exchange(1))
    assert await store.recent(ANN, 9) == []


async def test_of_many_who_take_a_turn_over_one_wins(store: Store) -> None:
    mine = (await begun(store)).record
    takers = [mine.changed(owner=f"worker-{n}", tries=2, lease_until=120) for n in range(2, 7)]
    results = await asyncio.gather(*(store.change(taker) for taker in takers), return_exceptions=True)
    (winner,) = [result for result in results if isinstance(result, TurnRecord)]
    assert all(isinstance(result, Changed) for result in results if result is not winner)
    assert (await store.find(mine.key)) == winner
    with pytest.raises(Changed):
        await store.end(mine, TurnState.ANSWERED, exchange(1))


async def test_a_closed_turn_keeps_no_text_of_the_question(store: Store) -> None:
    mine = (await begun(store)).record
    mine = await store.change(mine.changed(shown="Because"))
    assert mine.shown == "Because"
    await store.end(mine, TurnState.ANSWERED, exchange(1))
    closed = await store.find(mine.key)
    assert closed is not None
    assert (closed.state, closed.begun, closed.shown) == (TurnState.ANSWERED, "", "")
    assert await store.recent(ANN, 9) == exchange(1)


async def test_a_turn_is_closed_once(store: Store) -> None:
    mine = (await begun(store)).record
    await store.end(mine, TurnState.ANSWERED, exchange(1))
    with pytest.raises(Changed):
        await store.end(replace(mine, owner="worker-2"), TurnState.ANSWERED, exchange(1))
    assert await store.recent(ANN, 9) == exchange(1)


# aiohttp would rather have a large body in pieces.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("length", [0, 31_000, 31_001, 250_000, 400_000])
async def test_a_long_text_is_kept_whole(store: Store, length: int) -> None:
    text = "".join(chr(0x4E00 + n % 5000) for n in range(length))
    mine = (await begun(store, replace(turn(), begun=text[:100_000]))).record
    assert mine.begun == text[:100_000]
    assert (await store.find(mine.key)) == mine
    await store.end(mine, TurnState.ANSWERED, [StoredMessage("user", text), StoredMessage("assistant", "Yes. 😀")])
    assert await store.recent(ANN, 2) == [StoredMessage("user", text), StoredMessage("assistant", "Yes. 😀")]
    assert await store.recent(ANN, 1) == [StoredMessage("assistant", "Yes. 😀")]


async def test_forgetting_a_conversation_leaves_others_and_what_was_entered(store: Store) -> None:
    await answered(store, 1)
    await answered(store, 1, BOB)
    await store.forget(ANN)
    await store.forget(ANN)
    assert await store.recent(ANN, 9) == []
    assert await store.recent(BOB, 9) == exchange(1)
    assert await store.begin(turn("a1", owner="worker-2"), remember=1) is None
    await answered(store, 2)
    assert await store.recent(ANN, 9) == exchange(2)


async def test_what_is_old_is_deleted_and_open_turns_are_not(store: Store, clock: Clock) -> None:
    await answered(store, 1)
    waiting = (await begun(store, turn("open"))).record
    clock.now += 3600
    await answered(store, 2, BOB)
    assert await store.delete_before(clock.now - 60) == 3
    assert await store.recent(ANN, 9) == []
    assert await store.recent(BOB, 9) == exchange(2)
    assert await store.find(waiting.key) == waiting
    await store.end(waiting, TurnState.ANSWERED, exchange(3))
    await answered(store, 4)
    assert await store.recent(ANN, 9) == [*exchange(3), *exchange(4)]


async def test_a_ping_reads_and_changes_nothing(store: Store) -> None:
    await store.ping()
    assert await store.recent(ANN, 1) == []
