"""A queue trigger's listener, on a queue in memory and a clock that jumps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from azure.functions import QueueMessage

from app.local.host_json import MessageEncoding, QueueOptions
from app.local.indexing import QueueFunction
from app.local.queue_trigger import QueueListener
from app.storage.queue_encoding import encode_message
from tests.fakes.memory_receiver import MemoryReceiver
from tests.fakes.virtual_time import VirtualTimeLoop

Code = Callable[[QueueMessage], Coroutine[Any, Any, object]]


def in_virtual_time(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(work)


def listener(
    code: Code, receiver: MemoryReceiver, poison: MemoryReceiver | None = None, **options: Any
) -> QueueListener:
    function = QueueFunction("resume", "turns", "AzureWebJobsStorage", "msg", False, code)
    return QueueListener(function, receiver, poison, QueueOptions(**options), lock_seconds=30.0)


@asynccontextmanager
async def running(listening: QueueListener) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(listening.run())
    try:
        yield task
    finally:
        listening.stop()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


def now() -> float:
    return asyncio.get_running_loop().time()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_message_stays_hidden_while_its_function_runs_and_is_gone_afterwards() -> None:
    async def scenario() -> None:
        receiver, starts = MemoryReceiver(), list[float]()

        async def code(msg: QueueMessage) -> None:
            starts.append(now())
            await asyncio.sleep(1000)

        await receiver.put("a", visibility_timeout=0)
        async with running(listener(code, receiver)):
            await asyncio.sleep(999)
            assert receiver.bodies == ["a"]
            await asyncio.sleep(2)
            assert receiver.bodies == []
        assert len(starts) == 1, "another host received it meanwhile"

    in_virtual_time(scenario())


@pytest.mark.parametrize("lock_seconds", [30.0, 600.0])
def test_a_host_that_is_killed_leaves_its_message_hidden_for_the_rest_of_the_lock(lock_seconds: float) -> None:
    async def scenario() -> None:
        receiver, hidden_for = MemoryReceiver(), list[float]()

        async def code(msg: QueueMessage) -> None:
            while True:
                (message,) = receiver.messages.values()
                hidden_for.append(message.appears - now())
                await asyncio.sleep(lock_seconds / 10)

        await receiver.put("a", visibility_timeout=0)
        function = QueueFunction("resume", "turns", "AzureWebJobsStorage", "msg", False, code)
        async with running(QueueListener(function, receiver, None, QueueOptions(), lock_seconds=lock_seconds)) as task:
            await asyncio.sleep(lock_seconds * 3)
            task.cancel()
        assert hidden_for[0] == lock_seconds
        assert lock_seconds / 2 < min(hidden_for) <= max(hidden_for) == lock_seconds

    in_virtual_time(scenario())


def test_an_idle_queue_is_polled_less_and_less_often_and_often_again_after_a_message() -> None:
    async def scenario() -> None:
        receiver = MemoryReceiver()

        async def code(msg: QueueMessage) -> None: ...

        async with running(listener(code, receiver, max_polling_interval_seconds=20.0)):
            await asyncio.sleep(300)
            pauses = [round(after - before, 6) for before, after in pairwise(receiver.takes)]
            assert pauses[0] == pytest.approx(0.1)
            assert pauses == sorted(pauses)
            assert pauses[-1] == pytest.approx(20.0)
            receiver.takes.clear()
            await receiver.put("a", visibility_timeout=0)
            await asyncio.sleep(20.5)
            assert receiver.bodies == []
            assert receiver.takes[1] == receiver.takes[0], "there may be more where that came from"
            assert receiver.takes[2] - receiver.takes[1] == pytest.approx(0.1)

    in_virtual_time(scenario())


def test_a_message_that_fails_is_tried_again_after_the_visibility_timeout() -> None:
    async def scenario() -> None:
        receiver, dequeue_count = MemoryReceiver(), list[tuple[float, int | None]]()

        async def code(msg: QueueMessage) -> None:
            dequeue_count.append((now(), msg.dequeue_count))
            if len(dequeue_count) < 3:
                raise LookupError

        await receiver.put("a", visibility_timeout=0)
        async with running(
            listener(code, receiver, MemoryReceiver(), visibility_timeout=100.0, max_polling_interval_seconds=1.0)
        ):
            await asyncio.sleep(500)
        assert [count for _, count in dequeue_count] == [1, 2, 3]
        assert all(100 <= after[0] - before[0] <= 101.1 for before, after in pairwise(dequeue_count))
        assert receiver.bodies == []

    in_virtual_time(scenario())


def test_a_message_that_keeps_failing_is_moved_to_the_poison_queue(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        receiver, poison, dequeue_count = MemoryReceiver(), MemoryReceiver(), list[int | None]()

        async def code(msg: QueueMessage) -> None:
            dequeue_count.append(msg.dequeue_count)
            raise LookupError("never")

        await receiver.put("bad", visibility_timeout=0)
        async with running(listener(code, receiver, poison)):
            await asyncio.sleep(500)
        assert dequeue_count == [1, 2, 3, 4, 5]
        assert (receiver.bodies, poison.bodies) == ([], ["bad"])

    in_virtual_time(scenario())
    moved = "Message has reached MaxDequeueCount of 5. Moving message to queue 'turns-poison'."
    assert lines(caplog) == ["function resume failed"] * 5 + [moved]


def test_a_message_received_too_often_by_hosts_that_died_is_moved_to_the_poison_queue_without_another_try() -> None:
    async def scenario() -> None:
        receiver, poison = MemoryReceiver(), MemoryReceiver()

        async def code(msg: QueueMessage) -> None:
            pytest.fail("it was tried")

        await receiver.put("bad", visibility_timeout=0)
        receiver.messages["message-0"].dequeue_count = 5
        async with running(listener(code, receiver, poison)):
            await asyncio.sleep(1)
        assert (receiver.bodies, poison.bodies) == ([], ["bad"])

    in_virtual_time(scenario())


def test_a_message_that_fails_on_a_poison_queue_stays_there_and_is_not_tried_forever() -> None:
    async def scenario() -> None:
        receiver, dequeue_count = MemoryReceiver(), list[tuple[int | None, float]]()

        async def code(msg: QueueMessage) -> None:
            dequeue_count.append((msg.dequeue_count, now()))
            raise LookupError

        await receiver.put("bad", visibility_timeout=0)
        async with running(listener(code, receiver, None, max_polling_interval_seconds=1.0)):
            await asyncio.sleep(500)
        assert [count for count, _ in dequeue_count] == [1, 2, 3, 4, 5]
        assert all(30 <= after - before <= 32 for (_, before), (_, after) in pairwise(dequeue_count)), "the lock"
        assert receiver.bodies == ["bad"]
        assert len(receiver.takes) < 1000, "an idle queue is polled without a pause"

    in_virtual_time(scenario())


def test_no_more_messages_are_received_than_a_batch_beyond_the_threshold() -> None:
    async def scenario() -> None:
        receiver, at_once, most = MemoryReceiver(), 0, list[int]()

        async def code(msg: QueueMessage) -> None:
            nonlocal at_once
            at_once += 1
            most.append(at_once)
            await asyncio.sleep(float(msg.get_body()))
            at_once -= 1

        for number in range(30):
            await receiver.put(str(1 + number / 10), visibility_timeout=0)
        async with running(listener(code, receiver, batch_size=4, new_batch_threshold=2)):
            await asyncio.sleep(500)
        assert max(most) == 6
        assert len(most) == 30

    in_virtual_time(scenario())


def test_an_outage_of_storage_is_logged_once_and_ends_with_the_first_response(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        receiver, got = MemoryReceiver(), list[bytes]()

        async def code(msg: QueueMessage) -> None:
            got.append(msg.get_body())

        async with running(listener(code, receiver, max_polling_interval_seconds=2.0)):
            for body in ("a", "b"):
                await receiver.put(body, visibility_timeout=0)
                receiver.fails = True
                await asyncio.sleep(60)
                receiver.fails = False
                await asyncio.sleep(5)
        assert got == [b"a", b"b"]

    in_virtual_time(scenario())
    assert (
        lines(caplog)
        == [
            "queue 'turns' does not answer; it is tried again until it does",
            "queue 'turns' answers again",
        ]
        * 2
    )


@pytest.mark.parametrize("outage", [5.0, 25.0])
def test_a_message_whose_end_falls_into_an_outage_is_not_done_twice(outage: float) -> None:
    async def scenario() -> None:
        receiver, got = MemoryReceiver(), list[bytes]()

        async def code(msg: QueueMessage) -> None:
            got.append(msg.get_body())
            receiver.fails = True

        await receiver.put("a", visibility_timeout=0)
        async with running(listener(code, receiver, max_polling_interval_seconds=2.0)):
            await asyncio.sleep(outage)
            receiver.fails = False
            await asyncio.sleep(60)
        assert got == [b"a"]
        assert receiver.bodies == []

    in_virtual_time(scenario())


def test_a_message_that_another_host_has_received_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        receiver = MemoryReceiver()

        async def code(msg: QueueMessage) -> None:
            receiver.messages["message-0"].pop_receipt = "that of another host"
            receiver.messages["message-0"].appears = now() + 1000
            await asyncio.sleep(50)

        await receiver.put("a", visibility_timeout=0)
        async with running(listener(code, receiver)):
            await asyncio.sleep(100)
        assert receiver.bodies == ["a"]

    in_virtual_time(scenario())
    assert lines(caplog) == ["message message-0 of queue 'turns' has been received by another host meanwhile"]


def test_a_stop_lets_running_functions_end_and_receives_no_new_message() -> None:
    async def scenario() -> None:
        receiver, got = MemoryReceiver(), list[bytes]()

        async def code(msg: QueueMessage) -> None:
            await asyncio.sleep(3)
            got.append(msg.get_body())

        await receiver.put("running", visibility_timeout=0)
        await receiver.put("later", visibility_timeout=1)
        listening = listener(code, receiver, new_batch_threshold=0)
        async with running(listening):
            await asyncio.sleep(0.5)
            listening.stop()
            await asyncio.sleep(4)
            assert got == [b"running"]
        assert receiver.bodies == ["later"]
        assert receiver.messages["message-2"].dequeue_count == 0

    in_virtual_time(scenario())


def test_the_message_of_a_cancelled_function_becomes_visible_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        receiver = MemoryReceiver()

        async def code(msg: QueueMessage) -> None:
            await asyncio.sleep(1000)

        await receiver.put("a", visibility_timeout=0)
        async with running(listener(code, receiver)) as task:
            await asyncio.sleep(1)
            task.cancel()
        (message,) = receiver.messages.values()
        assert message.appears <= now()

    in_virtual_time(scenario())
    assert lines(caplog) == []


def test_a_function_that_cancels_itself_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        receiver, dequeue_count = MemoryReceiver(), list[int | None]()

        async def code(msg: QueueMessage) -> None:
            dequeue_count.append(msg.dequeue_count)
            if len(dequeue_count) == 1:
                raise asyncio.CancelledError

        await receiver.put("a", visibility_timeout=0)
        async with running(listener(code, receiver, MemoryReceiver())):
            await asyncio.sleep(10)
        assert dequeue_count == [1, 2]

    in_virtual_time(scenario())
    assert lines(caplog) == ["function resume failed"]


def test_a_function_that_the_hosts_end_interrupts_is_no_error_and_its_message_is_delivered_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        receiver, poison, closing = MemoryReceiver(), MemoryReceiver(), asyncio.Event()

        async def code(msg: QueueMessage) -> None:
            await closing.wait()
            raise RuntimeError("the worker ends")

        await receiver.put("a", visibility_timeout=0)
        listening = listener(code, receiver, poison, max_dequeue_count=1)
        async with running(listening):
            await asyncio.sleep(1)
            listening.stop()
            closing.set()
        assert (receiver.bodies, poison.bodies) == (["a"], [])
        assert await receiver.receive(1, visibility_timeout=1), "the next host had to wait for it"

    with caplog.at_level(logging.INFO):
        in_virtual_time(scenario())
    assert lines(caplog) == []
    assert "function resume was ended with the host (RuntimeError); its message is delivered again" in caplog.text


PLAIN, ENCODED = '{"query": "ä"}', encode_message('{"query": "ä"}')


@pytest.mark.parametrize(
    ("encoding", "given", "moved"),
    [("base64", ['{"query": "ä"}', "�"], [PLAIN, "[1]"]), ("none", [ENCODED, PLAIN, "[1]", "gA=="], [])],
)
def test_a_message_is_decoded_as_host_json_says_and_without_a_function_moved_where_that_fails(
    encoding: MessageEncoding, given: list[str], moved: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        receiver, poison, got = MemoryReceiver(), MemoryReceiver(), list[str]()

        async def code(msg: QueueMessage) -> None:
            got.append(msg.get_body().decode())

        for content in (ENCODED, PLAIN, "[1]", "gA=="):
            await receiver.put_content(content, visibility_timeout=0)
        async with running(listener(code, receiver, poison, message_encoding=encoding)):
            await asyncio.sleep(1)
        assert (got, receiver.messages) == (given, {})
        assert [message.content for message in poison.messages.values()] == moved

    in_virtual_time(scenario())
    line = "Message has reached MaxDequeueCount of 5. Moving message to queue 'turns-poison'."
    assert lines(caplog) == [line] * len(moved)


def test_a_function_learns_when_the_message_was_inserted() -> None:
    async def scenario() -> None:
        receiver, got = MemoryReceiver(), list[QueueMessage]()

        async def code(msg: QueueMessage) -> None:
            got.append(msg)

        inserted = datetime.fromtimestamp(int(now()), UTC)
        await receiver.put("{}", visibility_timeout=5)
        async with running(listener(code, receiver)):
            await asyncio.sleep(20)
        (message,) = got
        assert (message.id, message.insertion_time) == ("message-0", inserted)

    in_virtual_time(scenario())


@pytest.mark.parametrize(
    ("plain", "binary", "seen"),
    [
        ('{"ID": "theirs", "dequeueCount": "7", "PopReceipt": ["list"]}', False, ("theirs", 7)),
        ('{"ID": "theirs", "dequeueCount": "7"}', True, ("message-0", 1)),
        ('{"function_args": {"id": "nested"}}', False, ("message-0", 1)),
        (encode_message('{"id": "encoded"}'), False, ("message-0", 1)),
        ('{"insertiontime": "yesterday"}', False, None),
        ('{"insertiontime": "yesterday"}', True, ("message-0", 1)),
    ],
)
def test_members_of_a_plain_object_hide_the_messages_own_properties_unless_the_function_asks_for_bytes(
    plain: str, binary: bool, seen: tuple[str, int] | None
) -> None:
    async def scenario() -> None:
        receiver, got = MemoryReceiver(), list[tuple[str | None, int | None]]()

        async def code(msg: QueueMessage) -> None:
            assert msg.get_body().decode() == plain
            got.append((msg.id, msg.dequeue_count))

        await receiver.put_content(plain, visibility_timeout=0)
        function = QueueFunction("resume", "turns", "AzureWebJobsStorage", "msg", False, code, binary)
        options = QueueOptions(message_encoding="none")
        async with running(QueueListener(function, receiver, MemoryReceiver(), options)):
            await asyncio.sleep(20)
        assert got == ([seen] if seen else [])

    in_virtual_time(scenario())
