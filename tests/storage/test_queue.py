"""What every queue promises, on SQLite, PostgreSQL and Azurite."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from azure.storage.queue.aio import QueueClient

from app.storage.azure.azure_clients import open_azure_queue
from app.storage.azure.azure_queue import AzureQueue
from app.storage.queue import (
    MAX_QUEUE_MESSAGE_BYTES,
    MESSAGE_LIFETIME_SECONDS,
    MessageReceiver,
    PopReceiptMismatchError,
    Receipt,
    ReceivedMessage,
)
from app.storage.queue_encoding import decode_message
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.azurite import Azurite
from tests.fakes.stores import ENGINES, TestedQueue, account, azurite_of, opened_queue


@pytest.fixture(params=ENGINES)
async def tested(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TestedQueue]:
    async with opened_queue(request, tmp_path) as tested:
        yield tested


async def bodies(tested: TestedQueue, *, visibility_timeout: float = 60) -> list[str]:
    return sorted(message.body for message in await tested.queue.receive(32, visibility_timeout=visibility_timeout))


async def only(tested: TestedQueue, *, visibility_timeout: float = 60) -> ReceivedMessage:
    (message,) = await tested.queue.receive(32, visibility_timeout=visibility_timeout)
    return message


async def test_a_message_is_visible_after_its_timeout_and_not_before(tested: TestedQueue) -> None:
    await tested.queue.put("at once", visibility_timeout=0)
    await tested.queue.put("later", visibility_timeout=0.6)
    assert await bodies(tested) == ["at once"]
    await tested.wait(1.2)
    assert await bodies(tested) == ["later"]


async def test_a_ping_receives_nothing(tested: TestedQueue) -> None:
    await tested.queue.ping()
    await tested.queue.put("m", visibility_timeout=0)
    await tested.queue.ping()
    assert (await only(tested)).dequeue_count == 1


async def test_an_empty_queue_gives_nothing(tested: TestedQueue) -> None:
    assert await tested.queue.receive(5, visibility_timeout=1) == []


async def test_the_holder_of_the_receipt_extends_the_timeout_repeatedly(tested: TestedQueue) -> None:
    receipt = await tested.queue.put("m", visibility_timeout=1)
    for _ in range(2):
        receipt = await tested.queue.update_visibility(receipt, visibility_timeout=2)
        await tested.wait(1.2)
        assert await bodies(tested) == []
    receipt = await tested.queue.update_visibility(receipt, visibility_timeout=0)
    taken = await only(tested)
    assert (taken.body, taken.dequeue_count) == ("m", 1)


async def test_a_message_that_is_not_deleted_is_received_again(tested: TestedQueue) -> None:
    await tested.queue.put("m", visibility_timeout=0)
    first = await only(tested, visibility_timeout=1)
    await tested.wait(1.2)
    second = await only(tested)
    assert (first.dequeue_count, second.dequeue_count) == (1, 2)
    assert second.receipt != first.receipt
    await tested.queue.delete(second.receipt)
    assert await bodies(tested) == []


async def test_a_receipt_is_invalid_after_a_change_another_receive_or_a_deletion(tested: TestedQueue) -> None:
    put = await tested.queue.put("m", visibility_timeout=30)
    hidden = await tested.queue.update_visibility(put, visibility_timeout=0)
    taken = (await only(tested)).receipt
    for ended in (put, hidden, Receipt(taken.message_id, put.pop_receipt), Receipt(str(uuid.uuid4()), put.pop_receipt)):
        with pytest.raises(PopReceiptMismatchError):
            await tested.queue.update_visibility(ended, visibility_timeout=1)
        await tested.queue.delete(ended)
    back = await tested.queue.update_visibility(taken, visibility_timeout=0)
    assert (await only(tested)).body == "m"
    await tested.queue.delete(back)


async def test_a_deleted_message_stays_invisible_and_can_be_deleted_again(tested: TestedQueue) -> None:
    receipt = await tested.queue.put("m", visibility_timeout=0)
    await tested.queue.delete(receipt)
    await tested.queue.delete(receipt)
    with pytest.raises(PopReceiptMismatchError):
        await tested.queue.update_visibility(receipt, visibility_timeout=0)
    assert await bodies(tested) == []


async def test_concurrent_receivers_get_different_messages(tested: TestedQueue) -> None:
    await asyncio.gather(*(tested.queue.put(str(n), visibility_timeout=0) for n in range(12)))
    taken = await asyncio.gather(*(tested.queue.receive(2, visibility_timeout=60) for _ in range(8)))
    assert sorted(message.body for messages in taken for message in messages) == sorted(map(str, range(12)))
    assert all(len(messages) <= 2 for messages in taken)


async def test_one_of_several_changes_with_the_same_receipt_succeeds(tested: TestedQueue) -> None:
    receipt = await tested.queue.put("m", visibility_timeout=30)
    results = await asyncio.gather(
        *(tested.queue.update_visibility(receipt, visibility_timeout=30) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(result, Receipt) for result in results) == 1
    assert sum(isinstance(result, PopReceiptMismatchError) for result in results) == 4


@pytest.mark.parametrize(
    "body",
    [
        "",
        '{"v": 1, "text": "Größe & <b> ]]> 😀"}',
        "x" * MAX_QUEUE_MESSAGE_BYTES,
        "語" * (MAX_QUEUE_MESSAGE_BYTES // 3),
    ],
)
async def test_a_body_comes_out_as_it_went_in(tested: TestedQueue, body: str) -> None:
    await tested.queue.put(body, visibility_timeout=0)
    assert await bodies(tested) == [body]


async def test_a_body_that_is_too_long_is_refused_before_it_is_sent(tested: TestedQueue) -> None:
    with pytest.raises(ValueError, match=f"49153 bytes; a queue takes {MAX_QUEUE_MESSAGE_BYTES}"):
        await tested.queue.put("x" * (MAX_QUEUE_MESSAGE_BYTES + 1), visibility_timeout=0)
    assert await bodies(tested) == []


async def test_a_message_is_gone_after_a_day(tested: TestedQueue) -> None:
    queue, clock = tested.queue, tested.clock
    if clock is None:
        pytest.skip("Azurite has a clock of its own; another test looks at when its messages expire")
    receipt = await queue.put("m", visibility_timeout=0)
    clock.now += MESSAGE_LIFETIME_SECONDS - 1
    receipt = await queue.update_visibility(receipt, visibility_timeout=0)
    assert len(await queue.receive(1, visibility_timeout=0)) == 1
    clock.now += 1
    assert await queue.receive(1, visibility_timeout=0) == []
    with pytest.raises(PopReceiptMismatchError):
        await queue.update_visibility(receipt, visibility_timeout=0)
    await queue.put("next", visibility_timeout=0)
    assert await bodies(tested) == ["next"]


async def test_a_message_lives_as_long_as_its_sender_says(tested: TestedQueue) -> None:
    if tested.clock is None:
        pytest.skip("as above")
    await tested.queue.put("soon gone", visibility_timeout=0, time_to_live_seconds=1)
    await tested.queue.put("there", visibility_timeout=0, time_to_live_seconds=600)
    tested.clock.now += 1
    assert await bodies(tested) == ["there"]


async def test_a_receipt_keeps_the_time_at_which_the_message_was_inserted(tested: TestedQueue) -> None:
    before = time.time() if tested.clock is None else tested.clock.now
    put = await tested.queue.put("m", visibility_timeout=0)
    # Azure's times have no fractions of a second.
    assert before - 1 <= put.inserted_at <= before + 30
    if tested.clock is not None:
        tested.clock.now += 100
    first = await only(tested)
    changed = await tested.queue.update_visibility(first.receipt, visibility_timeout=0)
    again = await only(tested)
    assert {first.inserted_at, changed.inserted_at, again.inserted_at} == {put.inserted_at}


FOREIGN = [
    ('{"a": "ä"}', '{"a": "ä"}'),
    (' {"a": 1}', '{"a": 1}'),
    ("eyJhIjogMX0=", '{"a": 1}'),
    ("gIA=", "gIA="),
    ("neither!", "neither!"),
    ('{"a": "' + "x" * 60_000 + '"}', '{"a": "' + "x" * 60_000 + '"}'),
]


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("azure", marks=pytest.mark.slow)])
async def test_what_another_program_put_is_kept_as_it_is_and_read_in_either_encoding(
    request: pytest.FixtureRequest, tmp_path: Path, engine: str
) -> None:
    async with queue_of(request, engine, tmp_path) as queue:
        for content, _ in FOREIGN:
            await queue.put_content(content, visibility_timeout=0)
        await queue.put("ours, without braces", visibility_timeout=0)
        received = await queue.receive(9, visibility_timeout=60)
    assert sorted((message.content, message.body) for message in received) == sorted(
        [*FOREIGN, ("b3Vycywgd2l0aG91dCBicmFjZXM=", "ours, without braces")]
    )


@asynccontextmanager
async def queue_of(request: pytest.FixtureRequest, engine: str, folder: Path) -> AsyncIterator[MessageReceiver]:
    if engine == "sqlite":
        store = SqliteStore(folder / "agent.sqlite")
        yield store.queue("turns")
        await store.close()
    else:
        queue = open_azure_queue(account(azurite_of(request)), f"q{uuid.uuid4().hex}")
        yield queue
        await queue.close()


async def test_queues_of_one_file_do_not_mix_and_outlive_a_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.sqlite")
    await store.queue("turns").put("turn", visibility_timeout=0)
    await store.queue("turns-poison").put("poison", visibility_timeout=0)
    await store.close()
    store = SqliteStore(tmp_path / "s.sqlite")
    (turn,) = await store.queue("turns").receive(9, visibility_timeout=1)
    (poison,) = await store.queue("turns-poison").receive(9, visibility_timeout=1)
    assert (turn.body, poison.body) == ("turn", "poison")
    await store.close()


@pytest.mark.slow
async def test_a_message_in_azure_is_gone_after_a_day_or_as_its_sender_says(azurite: Azurite) -> None:
    raw = QueueClient.from_connection_string(azurite.connection_string, f"q{uuid.uuid4().hex}")
    queue = AzureQueue(raw)
    await queue.put("day", visibility_timeout=0)
    await queue.put("minutes", visibility_timeout=0, time_to_live_seconds=599.5)
    lives = {}
    async for message in raw.receive_messages():
        assert message.expires_on is not None
        assert message.inserted_on is not None
        lives[decode_message(message.content)] = (message.expires_on - message.inserted_on).total_seconds()
    assert lives == {"day": MESSAGE_LIFETIME_SECONDS, "minutes": 600}
    await queue.close()
