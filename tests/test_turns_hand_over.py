"""A worker vanishes, stalls or stops at any moment of a turn: the person has one whole answer in the end, never two.

All in virtual time, on the real store and queue; the worker is cut off from them and from the chat.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from app.agent.agent import Agent
from app.agent.commands import About, Commands
from app.agent.sentences import GO_ON, WAS_INTERRUPTED
from app.agent.tools import Toolbox
from app.agent.turn import Turn
from app.bot.channel import COPILOT, TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.bot.message_reply import SENT_AGAIN, MessageReply
from app.bot.stream_reply import StreamReply
from app.model.types import Completed, ModelEvent, ModelRequest, TextDelta
from app.storage.conversations import ConversationKey, StoredMessage
from app.storage.failures import StorageFailed
from app.storage.ledger import TurnKey, TurnState
from app.storage.sqlite import SqliteStore
from app.turns.handover import read_hand_over
from app.turns.held import Shelf
from app.turns.progress import Progress
from app.turns.reply import Reply
from app.turns.runner import TurnRunner
from tests.fakes.chat import Behind, Chat, Wire, ends_with
from tests.fakes.virtual_time import VirtualTimeLoop

ANN = ConversationKey("tenant", "ann")
LEASE = 30.0
ANSWER = "First the plan is made, then the work is done, and then all of it is looked at once more."


class Knows:
    """A model that says `ANSWER` in `seconds`, or the rest of it when it is asked to go on."""

    name = "knows"

    def __init__(self, seconds: float = 4.0) -> None:
        self._seconds = seconds
        self.asked = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        self.asked += 1
        said = request.messages[-2].content if request.messages[-1].content == GO_ON else ""
        assert ANSWER.startswith(said), f"a part of the answer that never was: {said}"
        words = ANSWER[len(said) :].split(" ")
        for number, word in enumerate(words):
            await asyncio.sleep(self._seconds / len(words))
            yield TextDelta(word if number == 0 else f" {word}")
        yield Completed()

    async def close(self) -> None:
        pass


@dataclass
class House:
    """What all workers share."""

    store: SqliteStore
    chat: Chat
    channel: Channel

    def worker(self, seconds: float = 4.0) -> Worker:
        return Worker(self, Wire(), Knows(seconds))

    async def later(self, seconds: float = 400.0, every: float = 1.0) -> Worker:
        """Another worker takes what comes on the queue, as the Functions host does."""
        other = self.worker()
        inbox = self.store.queue("turns")
        running: list[asyncio.Task[None]] = []
        for _ in range(int(seconds / every)):
            for taken in await inbox.take(16, hidden_for=600):
                running.append(asyncio.create_task(other.resume(taken.body)))
                await inbox.delete(taken.receipt)
            await asyncio.sleep(every)
        await asyncio.gather(*running)
        assert await inbox.take(16, hidden_for=1) == [], "messages are left on the queue"
        return other


class Worker:
    def __init__(self, house: House, wire: Wire, model: Knows) -> None:
        self.house = house
        self.wire = wire
        self.model = model
        store, queue = Behind(house.store, wire), Behind(house.store.queue("turns"), wire)
        shelf = Shelf(cast(Any, store), cast(Any, queue), LEASE, asyncio.get_running_loop().time)
        agent = Agent(model, Toolbox(), system_prompt="", history_token_budget=1000)
        commands = Commands(cast(Any, store), lambda: About("m", "w", "a"))
        self.runner = TurnRunner(agent, commands, shelf, time_limit=60)

    def reply(self, progress: Progress) -> Reply:
        outlet, channel = self.house.chat.through(self.wire), self.house.channel
        if channel.streaming is None:
            return MessageReply(outlet, channel, progress)
        return StreamReply(outlet, channel, channel.streaming, progress, clock=asyncio.get_running_loop().time)

    async def ask(self, question: str = "How?", turn_id: str = "1") -> None:
        await self.runner.run(Turn(turn_id, ANN, question), self.reply, begun=question)

    async def resume(self, body: str) -> None:
        hand_over = read_hand_over(body)
        held = await self.runner.take_over(hand_over)
        if held is not None:
            await self.runner.go_on(held, Turn(hand_over.key.activity, ANN, hand_over.begun), self.reply)


def played(channel: Channel, folder: Path, script: Callable[[House], Awaitable[None]]) -> tuple[House, Any]:
    """The house after the script, and what the ledger and the memory hold."""

    async def run() -> tuple[House, Any]:
        clock = asyncio.get_running_loop().time
        house = House(SqliteStore(folder / "agent.sqlite", clock=clock), Chat(), channel)
        await script(house)
        record = await house.store.find(TurnKey(ANN, "1"))
        memory = await house.store.recent(ANN, 99)
        await house.store.close()
        return house, (record and record.state, memory)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        return virtual.run(run())


def plain(text: str) -> str:
    """What was answered, without the notes that it was interrupted."""
    return text.replace(f"\n\n{WAS_INTERRUPTED}\n\n", "").replace(f"{WAS_INTERRUPTED}\n\n", "")


def assert_answered_once(house: House, kept: Any) -> None:
    shown = [plain(text) for text in house.chat.messages.values()]
    assert [text for text in shown if SENT_AGAIN not in text] in ([ANSWER], []), shown
    again = [text for text in shown if SENT_AGAIN in text]
    assert len(shown) >= 1
    assert all(text.startswith(ANSWER) for text in again)
    assert len(again) <= 1
    if house.channel.streaming is not None:
        assert shown == [ANSWER], "a stream's end cannot be doubtful"
        assert house.chat.left_open == []
    state, memory = kept
    assert state is TurnState.ANSWERED
    assert [StoredMessage(m.role, plain(m.text), m.complete) for m in memory] == [
        StoredMessage("user", "How?"),
        StoredMessage("assistant", ANSWER),
    ]


CHANNELS = [TEAMS_PERSONAL, COPILOT, TEAMS_GROUP]
# From before anything is stored to after all is.
MOMENTS = [round(0.001 + 0.0075 * n, 4) for n in range(12)] + [round(0.2 + 0.067 * n, 3) for n in range(80)]
SOME = pytest.param(MOMENTS[3::11], id="at some moments")
ALL = pytest.param(MOMENTS, id="at all moments", marks=pytest.mark.slow)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("moments", [SOME, ALL])
def test_a_worker_that_vanishes_at_any_moment_leaves_a_turn_that_another_ends(
    channel: Channel, moments: list[float], tmp_path: Path
) -> None:
    for number, moment in enumerate(moments):

        async def script(house: House, moment: float = moment) -> None:
            first = house.worker()
            asking = asyncio.create_task(first.ask())
            await asyncio.sleep(moment)
            first.wire.cut()
            async with ends_with(asking):
                await house.later()
                # Teams repeats what was not acknowledged; so does who was not entered at all.
                again = house.worker()
                await again.ask()
                await house.later()

        folder = tmp_path / str(number)
        house, kept = played(channel, folder, script)
        assert_answered_once(house, kept)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("stalls_for", [20.0, 45.0])
@pytest.mark.parametrize("moments", [SOME, ALL])
def test_a_worker_that_stalls_says_nothing_in_a_turn_that_another_has_taken(
    channel: Channel, moments: list[float], stalls_for: float, tmp_path: Path
) -> None:
    for number, moment in enumerate(moments):
        told: list[BaseException | None] = []

        async def script(house: House, moment: float = moment, told: list[BaseException | None] = told) -> None:
            first = house.worker()
            asking = asyncio.create_task(first.ask())
            loop = asyncio.get_running_loop()
            loop.call_later(moment, first.wire.cut)
            loop.call_later(moment + stalls_for, first.wire.join)
            await house.later()
            await asyncio.wait([asking])
            told.append(asking.exception())

        house, kept = played(channel, tmp_path / str(number), script)
        if isinstance(told[0], StorageFailed) and not house.chat.messages:
            # Nothing was entered, and the door says so.
            assert kept == (None, [])
        else:
            assert_answered_once(house, kept)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("moments", [SOME, ALL])
def test_a_worker_that_is_told_to_stop_hands_over_at_once(
    channel: Channel, moments: list[float], tmp_path: Path
) -> None:
    for number, moment in enumerate(moments):
        seconds = 0.0

        async def script(house: House, moment: float = moment) -> None:
            nonlocal seconds
            first = house.worker()
            asking = asyncio.create_task(first.ask())
            await asyncio.sleep(moment)
            asking.cancel()
            started = asyncio.get_running_loop().time()
            await asyncio.wait([asking])
            seconds = asyncio.get_running_loop().time() - started
            if not await house.store.find(TurnKey(ANN, "1")):
                # Nothing was entered yet, and so nothing acknowledged: Teams sends it again.
                await house.worker().ask()
            await house.later(20.0, every=0.2)

        house, kept = played(channel, tmp_path / str(number), script)
        assert_answered_once(house, kept)
        assert seconds < 4.5
