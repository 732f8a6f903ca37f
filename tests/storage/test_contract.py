"""What every storage engine promises of conversations and turns, on SQLite, PostgreSQL and Azurite."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.ledger import ConversationStore, Predecessor, TurnRecord, TurnState
from app.storage.storage_errors import ConcurrentUpdateError
from tests.fakes.stores import ANN, BOB, begin, exchange, turn


async def answered(store: ConversationStore, n: int, key: ConversationKey = ANN) -> None:
    record = (await begin(store, turn(f"a{n}", key))).record
    await store.end(record, TurnState.ANSWERED, exchange(n))


async def test_a_turn_is_entered_once_and_its_repeat_is_known(store: ConversationStore) -> None:
    first = await begin(store)
    assert await store.begin(turn(owner="worker-2"), history_limit=1) is None
    assert await store.find(first.record.key) == first.record
    await store.end(first.record, TurnState.ANSWERED, exchange(1))
    assert await store.begin(turn(owner="worker-2"), history_limit=1) is None


async def test_the_same_activity_id_in_another_conversation_or_thread_is_another_turn(store: ConversationStore) -> None:
    await begin(store)
    assert not (await begin(store, turn(key=BOB))).has_predecessor
    assert not (await begin(store, turn(key=replace(ANN, thread="t1")))).has_predecessor


async def test_a_repeated_call_of_the_same_owner_returns_the_same_turn(store: ConversationStore) -> None:
    """A request whose answer is lost is sent again, and must not be taken for Teams' repeat."""
    first = await begin(store)
    again = await store.begin(turn(), history_limit=1)
    assert again is not None
    assert again.record == first.record
    assert not again.has_predecessor
    await store.end(first.record, TurnState.ANSWERED, exchange(1))
    assert await store.begin(turn(), history_limit=1) is None


async def test_one_of_several_workers_enters_the_same_activity(store: ConversationStore) -> None:
    results = await asyncio.gather(*(store.begin(turn(owner=f"worker-{n}"), history_limit=1) for n in range(6)))
    assert sum(result is not None for result in results) == 1


async def test_turns_of_a_conversation_get_tickets_in_the_order_they_came(store: ConversationStore) -> None:
    first, second = await begin(store, turn("a1")), await begin(store, turn("a2"))
    assert first.record.ticket < second.record.ticket
    assert (first.has_predecessor, second.has_predecessor) == (False, True)


def predecessor(record: TurnRecord, lease_until: float = 60.0) -> Predecessor:
    return Predecessor(record.ticket, lease_until)


async def test_start_returns_the_first_open_predecessor(store: ConversationStore) -> None:
    first, second, third = [(await begin(store, turn(f"a{n}"))).record for n in range(3)]
    second = await store.change(second.changed(lease_until=75.5))
    assert await store.start(first) is None
    assert await store.start(second) == predecessor(first)
    assert await store.start(third) == predecessor(first)
    assert await store.start(third, since=60.0) == predecessor(second, 75.5)
    assert await store.start(third, since=75.5) is None
    await store.end(first, TurnState.ANSWERED, exchange(1))
    assert await store.start(third) == predecessor(second, 75.5)
    await store.end(second, TurnState.FAILED, [])
    assert await store.start(third) is None
    other = (await begin(store, turn("a9", replace(ANN, thread="t1")))).record
    assert await store.start(other) is None


async def test_a_skipped_turn_is_no_predecessor_until_it_is_claimed_again(store: ConversationStore) -> None:
    ended, first, second, third, last = [(await begin(store, turn(f"a{n}"))).record for n in range(5)]
    await store.end(ended, TurnState.FAILED, [])
    second = await store.change(second.changed(lease_until=99.0))
    await store.end(third, TurnState.ANSWERED, exchange(1))
    for other_than_it in (predecessor(first, 59.0), predecessor(ended), predecessor(third)):
        await store.skip(last, other_than_it)
    assert await store.start(last) == predecessor(first)
    await store.skip(last, predecessor(first))
    assert await store.start(last) == predecessor(second, 99.0)
    assert await store.start(second) is None
    passed = await store.find(first.key)
    assert passed is not None
    assert replace(passed, version=first.version) == replace(first, lease_until=0.0), (
        "its worker does not know it again"
    )
    has_predecessor = (await begin(store, replace(turn("a5"), ticket=99))).has_predecessor
    assert has_predecessor, "only start() knows which turns are skipped"
    with pytest.raises(ConcurrentUpdateError):
        await store.change(first.changed(attempt_count=2))
    await store.change(passed.changed(lease_until=70.0))
    assert await store.start(second) == predecessor(first, 70.0)
    await store.skip(second, predecessor(first, 70.0))
    assert await store.start(last) == predecessor(second, 99.0)
    await store.skip(last, predecessor(second, 99.0))
    assert await store.start(last) is None
    answered_already = await store.find(third.key)
    assert answered_already is not None
    assert answered_already.state is TurnState.ANSWERED
    await store.end((await store.find(second.key)) or second, TurnState.ANSWERED, exchange(2))
    assert len(await store.recent(ANN, 9)) == 4


async def test_concurrent_turns_get_different_tickets_and_one_is_started(store: ConversationStore) -> None:
    results = await asyncio.gather(*(begin(store, turn(f"a{n}")) for n in range(8)))
    assert len({result.record.ticket for result in results}) == 8
    assert sum(not result.has_predecessor for result in results) == 1
    assert min(results, key=lambda result: result.record.ticket).has_predecessor is False


async def test_a_turn_begins_with_the_last_messages_oldest_first(store: ConversationStore) -> None:
    for n in range(1, 5):
        await answered(store, n)
    assert (await begin(store, turn("a9"), history_limit=4)).history == (*exchange(3), *exchange(4))
    assert (await begin(store, turn("a10"), history_limit=0)).history == ()
    assert await store.recent(ANN, 4) == [*exchange(3), *exchange(4)]
    assert await store.recent(ANN, 3) == [*exchange(3)[1:], *exchange(4)]
    assert await store.recent(BOB, 4) == []


async def test_messages_are_in_the_order_in_which_their_questions_came(store: ConversationStore) -> None:
    first, second = (await begin(store, turn("a1"))).record, (await begin(store, turn("a2"))).record
    await store.end(second, TurnState.ANSWERED, exchange(2))
    await store.end(first, TurnState.ANSWERED, exchange(1))
    assert await store.recent(ANN, 9) == [*exchange(1), *exchange(2)]


async def test_only_the_newest_version_of_a_row_can_be_changed(store: ConversationStore) -> None:
    mine = (await begin(store)).record
    renewed = await store.change(mine.changed(lease_until=90.5))
    assert (await store.find(mine.key)) == renewed
    assert renewed.lease_until == 90.5
    for late in (mine.changed(owner="worker-2", attempt_count=2), mine.changed(lease_until=99)):
        with pytest.raises(ConcurrentUpdateError):
            await store.change(late)
    with pytest.raises(ConcurrentUpdateError):
        await store.end(mine.changed(owner="worker-2"), TurnState.ANSWERED, exchange(1))
    assert await store.recent(ANN, 9) == []


async def test_one_of_several_workers_claims_a_turn(store: ConversationStore) -> None:
    mine = (await begin(store)).record
    takers = [mine.changed(owner=f"worker-{n}", attempt_count=2, lease_until=120) for n in range(2, 7)]
    results = await asyncio.gather(*(store.change(taker) for taker in takers), return_exceptions=True)
    (winner,) = [result for result in results if isinstance(result, TurnRecord)]
    assert all(isinstance(result, ConcurrentUpdateError) for result in results if result is not winner)
    assert (await store.find(mine.key)) == winner
    with pytest.raises(ConcurrentUpdateError):
        await store.end(mine, TurnState.ANSWERED, exchange(1))


@pytest.mark.parametrize("state", [TurnState.ANSWERED, TurnState.FAILED])
async def test_a_closed_turn_keeps_its_result_and_no_text_of_the_question(
    store: ConversationStore, state: TurnState
) -> None:
    mine = (await begin(store)).record
    mine = await store.change(mine.changed(checkpoint="Because"))
    assert mine.checkpoint == "Because"
    await store.end(mine, state, exchange(1), result='{"text": "Because."}')
    closed = await store.find(mine.key)
    assert closed is not None
    assert (closed.state, closed.payload, closed.checkpoint) == (state, "", "")
    assert closed.result == '{"text": "Because."}'
    assert await store.recent(ANN, 9) == exchange(1)


async def test_a_suspended_turn_keeps_what_it_needs_and_holds_up_no_other(store: ConversationStore) -> None:
    mine = (await begin(store)).record
    mine = await store.change(mine.changed(checkpoint="so far"))
    await store.end(mine, TurnState.SUSPENDED, exchange("asked"))
    found = await store.find(mine.key)
    assert found is not None
    assert (found.state, found.payload, found.checkpoint) == (TurnState.SUSPENDED, mine.payload, "so far")
    assert await store.begin(turn(owner="worker-2"), history_limit=1) is None, "its repeat is a new turn"
    following = await begin(store, turn("a2"))
    assert not following.has_predecessor
    assert await store.start(following.record) is None


async def test_a_suspended_turn_is_begun_again_behind_those_that_were_started_meanwhile(
    store: ConversationStore,
) -> None:
    mine = (await begin(store)).record
    await store.end(mine, TurnState.SUSPENDED, exchange("before"))
    suspended = await store.find(mine.key)
    assert suspended is not None
    following = (await begin(store, turn("a2"))).record
    resumed = replace(suspended, state=TurnState.STARTED, owner="worker-2", lease_until=120.0)
    again = await begin(store, resumed)
    assert again.has_predecessor
    assert again.record.ticket > following.ticket
    assert again.history == tuple(exchange("before"))
    assert await store.begin(resumed, history_limit=10) == again, "an earlier try of the same call"
    for late in (replace(resumed, owner="worker-3"), replace(mine, owner="worker-3"), turn(owner="worker-3")):
        assert await store.begin(late, history_limit=1) is None
    assert await store.start(again.record) == predecessor(following)
    await store.end(following, TurnState.ANSWERED, exchange("a2"))
    assert await store.start(again.record) is None
    assert await store.find(mine.key) == again.record
    await store.end(again.record, TurnState.ANSWERED, exchange("after"))
    assert await store.recent(ANN, 9) == [*exchange("before"), *exchange("a2"), *exchange("after")]


async def test_one_of_several_workers_resumes_a_suspended_turn(store: ConversationStore) -> None:
    await store.end((await begin(store)).record, TurnState.SUSPENDED, [])
    suspended = await store.find(turn().key)
    assert suspended is not None
    resumed = [replace(suspended, state=TurnState.STARTED, owner=f"worker-{n}") for n in range(5)]
    results = await asyncio.gather(*(store.begin(each, history_limit=1) for each in resumed))
    assert sum(result is not None for result in results) == 1
    await store.delete_before(2_000_000_000.0)
    assert await store.begin(resumed[0], history_limit=1) is None, "deleted meanwhile"


async def test_a_message_keeps_its_blocks_its_activity_and_who_asked(store: ConversationStore) -> None:
    messages = [
        StoredMessage("user", "Why?", caller='{"user": "29:ann"}', activity_id="f:1"),
        StoredMessage("assistant", "", complete=False, blocks='[{"table": "' + '"語\\😀' * 20_000 + '"}]'),
    ]
    mine = (await begin(store)).record
    await store.end(mine, TurnState.ANSWERED, messages)
    assert await store.recent(ANN, 9) == messages
    assert await store.recent(ANN, 1) == messages[1:]


async def test_an_answer_is_removed_with_its_question_and_nothing_else_is(store: ConversationStore) -> None:
    other = replace(ANN, thread="t1")
    for key in (ANN, other):
        for number, length in ((1, 1), (2, 200_000), (3, 1)):
            record = (await begin(store, turn(f"a{number}", key))).record
            answer = StoredMessage("assistant", "x" * length, activity_id=f"m{number}")
            await store.end(record, TurnState.ANSWERED, (StoredMessage("user", f"q{number}"), answer))
    for _ in range(2):
        await store.remove_exchange(ANN, "m2")
    await store.remove_exchange(ANN, "unknown")
    assert [message.activity_id or message.text for message in await store.recent(ANN, 10)] == ["q1", "m1", "q3", "m3"]
    assert len(await store.recent(other, 10)) == 6


async def test_a_turn_is_closed_once(store: ConversationStore) -> None:
    mine = (await begin(store)).record
    await store.end(mine, TurnState.ANSWERED, exchange(1))
    # The same worker again, whose first answer was lost.
    await store.end(mine, TurnState.ANSWERED, exchange(1))
    with pytest.raises(ConcurrentUpdateError):
        await store.end(replace(mine, owner="worker-2"), TurnState.ANSWERED, exchange(2))
    assert await store.recent(ANN, 9) == exchange(1)


# aiohttp would rather have a large body in pieces.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("character", ["x", "語", "😀"])
@pytest.mark.parametrize("length", [0, 16_000, 16_001, 80_001, 262_144])
async def test_a_long_text_is_kept_whole(store: ConversationStore, length: int, character: str) -> None:
    text = (character * (length - 1) + "." if length else "").replace("x" * 10, 'xxxx\n"\\xxx')
    mine = (await begin(store, replace(turn(), payload=text[:40_000]))).record
    assert mine.payload == text[:40_000]
    mine = await store.change(mine.changed(checkpoint=text[:40_000]))
    assert (await store.find(mine.key)) == mine
    await store.end(mine, TurnState.ANSWERED, [StoredMessage("user", text), StoredMessage("assistant", "Yes. 😀")])
    assert await store.recent(ANN, 2) == [StoredMessage("user", text), StoredMessage("assistant", "Yes. 😀")]
    assert await store.recent(ANN, 1) == [StoredMessage("assistant", "Yes. 😀")]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_megabyte_of_answer_is_kept_whole(store: ConversationStore) -> None:
    text = "A line of an answer, with “quotes” and so on.\n" * 22_000
    mine = (await begin(store)).record
    await store.end(mine, TurnState.ANSWERED, [StoredMessage("user", "Why?"), StoredMessage("assistant", text)])
    assert (await begin(store, turn("a2"))).history[1].text == text


async def test_lone_surrogates_and_nul_are_replaced_and_a_turn_with_them_can_be_closed(
    store: ConversationStore,
) -> None:
    mine = (await begin(store, replace(turn(), payload="Why \ud83d?\0"))).record
    mine = await store.change(mine.changed(checkpoint="\ude00"))
    assert (mine.payload, mine.checkpoint) == ("Why \ufffd?\ufffd", "\ufffd")
    assert await store.find(mine.key) == mine
    await store.end(mine, TurnState.ANSWERED, [StoredMessage("user", "a\ud83d \ud83d\ude00\0", activity_id="m\0")])
    assert await store.recent(ANN, 1) == [StoredMessage("user", "a\ufffd 😀\ufffd", activity_id="m\ufffd")]


async def test_a_ping_reads_and_changes_nothing(store: ConversationStore) -> None:
    await store.ping()
    assert await store.recent(ANN, 1) == []
