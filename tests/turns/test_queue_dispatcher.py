"""Each message on the queue goes to the handler of its kind."""

from __future__ import annotations

import asyncio

import pytest

from app.telemetry.destination import Destination
from app.telemetry.telemetry import Telemetry
from app.turns.queue_dispatcher import QueueDispatcher, ShuttingDownError
from app.turns.queue_message import UnreadableMessageError


class Handler:
    def __init__(self, fails: Exception | None = None) -> None:
        self.bodies: list[bytes] = []
        self.entered = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self._fails = fails

    async def handle(self, body: bytes) -> None:
        self.bodies.append(body)
        self.entered.set()
        await self.goes_on.wait()
        if self._fails is not None:
            raise self._fails


def dispatcher(**handlers: Handler) -> QueueDispatcher:
    made = QueueDispatcher(Telemetry(Destination("bot", "1", "here")))
    for kind, handler in handlers.items():
        made.register(kind, handler.handle)
    return made


async def test_a_message_goes_to_the_handler_of_its_kind_alone_and_whole() -> None:
    turn, action = Handler(), Handler()
    body = b'{"v":1,"kind":"action","id":"7"}'
    await dispatcher(turn=turn, action=action).dispatch(body)
    assert (turn.bodies, action.bodies) == ([], [body])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"v":1,"kind":"joke"}', "kind: unknown"),
        (b'{"v":2,"kind":"turn"}', "v: literal_error"),
        (b'{"v":1}', "kind: missing"),
        (b"words of somebody's", "json_invalid"),
    ],
)
async def test_a_message_that_nobody_here_can_read_is_refused_without_quoting_it(body: bytes, why: str) -> None:
    turn = Handler()
    with pytest.raises(UnreadableMessageError, match=why) as refused:
        await dispatcher(turn=turn).dispatch(body)
    assert turn.bodies == []
    assert "somebody" not in str(refused.value)


async def test_what_a_handler_raises_lets_the_host_deliver_the_message_again() -> None:
    with pytest.raises(ConnectionError):
        await dispatcher(turn=Handler(ConnectionError())).dispatch(b'{"v":1,"kind":"turn"}')


async def test_a_worker_that_ends_cancels_what_runs_and_has_its_messages_delivered_again() -> None:
    turn = Handler()
    turn.goes_on.clear()
    queue = dispatcher(turn=turn)
    running = asyncio.create_task(queue.dispatch(b'{"v":1,"kind":"turn"}'))
    await turn.entered.wait()
    await queue.close()
    with pytest.raises(ShuttingDownError):
        await running
    with pytest.raises(ShuttingDownError):
        await queue.dispatch(b'{"v":1,"kind":"turn"}')
    assert len(turn.bodies) == 1


def test_a_kind_has_one_handler() -> None:
    queue = dispatcher(turn=Handler())
    with pytest.raises(ValueError, match="turn"):
        queue.register("turn", Handler().handle)
