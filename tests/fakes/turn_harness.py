"""Workers that share a store, a queue and a chat, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from app.agent.agent import Agent
from app.agent.turn import Turn
from app.agent.user_messages import CONTINUE_PROMPT, INTERRUPTION_NOTE
from app.bot.channel import TEAMS_GROUP, Channel
from app.bot.replies.message_reply import MessageReply
from app.bot.replies.stream_reply import StreamReply
from app.models.model import Completed, ModelEvent, ModelRequest, TextDelta
from app.storage.conversations import ConversationKey
from app.storage.ledger import TurnKey
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from app.turns.checkpoint import Checkpoint
from app.turns.claiming import ClaimedTurn, TurnClaims
from app.turns.lease import TurnBackend, TurnLease
from app.turns.queue_message import TurnMessage
from app.turns.reply import Reply
from app.turns.runner import TurnRunner
from tests.fakes.chat import Behind, Chat, Wire, ends_with
from tests.fakes.commands import commands_of
from tests.fakes.memory_receiver import MemoryReceiver
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
        said = request.messages[-2].content if request.messages[-1].content == CONTINUE_PROMPT else ""
        assert ANSWER.startswith(said), f"a part of the answer that never was: {said}"
        words = ANSWER[len(said) :].split(" ")
        for number, word in enumerate(words):
            await asyncio.sleep(self._seconds / len(words))
            yield TextDelta(word if number == 0 else f" {word}")
        yield Completed()

    async def close(self) -> None:
        pass


@dataclass
class TurnHarness:
    """What all workers share."""

    store: SqliteStore
    chat: Chat
    channel: Channel

    def worker(self, seconds: float = 4.0) -> Worker:
        return Worker(self, Wire(), Knows(seconds))

    async def later(self, seconds: float = 400.0, every: float = 1.0) -> Worker:
        """Another worker takes what comes on the queue, as the Functions host does."""
        other = self.worker()
        receiver = self.store.queue("turns")
        running: list[asyncio.Task[None]] = []
        until = now() + seconds
        while now() < until:
            for taken in await receiver.receive(16, visibility_timeout=600):
                running.append(asyncio.create_task(other.resume(taken.body)))
                await receiver.delete(taken.receipt)
            # To look every second for hours, when nothing is due, is most of what such a test costs.
            idle = all(task.done() for task in running)
            await asyncio.sleep(max(every, await self._until_due() if idle else 0.0))
        await asyncio.gather(*running)
        assert await receiver.receive(16, visibility_timeout=1) == [], "messages are left on the queue"
        return other

    async def take_message(self) -> str:
        """The only one that is visible on the queue."""
        receiver = self.store.queue("turns")
        (taken,) = await receiver.receive(9, visibility_timeout=600)
        await receiver.delete(taken.receipt)
        return taken.body

    async def _until_due(self) -> float:
        """Seconds until a message appears that is on the queue now; a minute if there is none."""
        appears: float | None = await self.store._file.run_transaction(
            lambda connection: connection.execute("SELECT MIN(visible_at) FROM queue_message").fetchone()[0]
        )
        return 60.0 if appears is None else min(appears - now(), 60.0)


class Worker:
    def __init__(self, harness: TurnHarness, wire: Wire, model: Knows) -> None:
        self.harness = harness
        self.wire = wire
        self.model = model
        store, queue = Behind(harness.store, wire), Behind(harness.store.queue("turns"), wire)
        artifacts = Behind(harness.store.artifacts(), wire)
        clock = asyncio.get_running_loop().time
        backend = TurnBackend(cast(Any, store), cast(Any, queue), cast(Any, artifacts), LEASE, clock)
        agent = Agent(model, system_prompt="", history_token_budget=1000)
        commands = commands_of(cast(Any, store))
        self.runner = TurnRunner(agent, commands, backend, time_limit_seconds=60)

    def reply(self, checkpoint: Checkpoint) -> Reply:
        sender, channel = self.harness.chat.through(self.wire), self.harness.channel
        if channel.streaming is None:
            return MessageReply(sender, channel, checkpoint)
        return StreamReply(sender, channel, channel.streaming, checkpoint, clock=asyncio.get_running_loop().time)

    async def ask(self, question: str = "How?", turn_id: str = "1", asked_at: float | None = None) -> None:
        await self.runner.run(Turn(turn_id, ANN, question), self.reply, asked_at=asked_at, payload=question)

    async def resume(self, body: str) -> None:
        message = TurnMessage.from_json(body)
        claimed = await self.runner.claim(message, str)
        if isinstance(claimed, ClaimedTurn):
            turn = Turn(message.key.activity_id, ANN, claimed.request)
            await self.runner.execute(claimed.lease, turn, self.reply)


def played(channel: Channel, folder: Path, script: Callable[[TurnHarness], Awaitable[None]]) -> tuple[TurnHarness, Any]:
    """The harness after the script, and what the ledger and the memory hold, without the ids of messages."""

    async def run() -> tuple[TurnHarness, Any]:
        clock = asyncio.get_running_loop().time
        harness = TurnHarness(SqliteStore(folder / "agent.sqlite", clock=clock), Chat(), channel)
        await script(harness)
        record = await harness.store.find(TurnKey(ANN, "1"))
        memory = [replace(message, activity_id="") for message in await harness.store.recent(ANN, 99)]
        await harness.store.close()
        return harness, (record and record.state, memory)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        return virtual.run(run())


def moments(first: float, step: float, count: int) -> list[float]:
    """In seconds from the beginning of a script."""
    return [round(first + step * number, 4) for number in range(count)]


def played_at(
    moments: Iterable[float], channel: Channel, folder: Path, script: Callable[[TurnHarness, float], Awaitable[None]]
) -> Iterator[tuple[float, TurnHarness, Any]]:
    """`played` once for each moment, which the script gets too."""
    for number, moment in enumerate(moments):

        async def at_moment(harness: TurnHarness, moment: float = moment) -> None:
            await script(harness, moment)

        yield moment, *played(channel, folder / str(number), at_moment)


def in_virtual_time(script: Callable[[TurnHarness], Awaitable[None]]) -> Callable[[Path], None]:
    """A test in a harness whose channel is a group chat."""

    async def limited(harness: TurnHarness) -> None:
        async with asyncio.timeout(5000):
            await script(harness)

    def run(tmp_path: Path) -> None:
        played(TEAMS_GROUP, tmp_path, limited)

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


def claims_with(harness: TurnHarness, receiver: MemoryReceiver) -> TurnClaims:
    clock = asyncio.get_running_loop().time
    return TurnClaims(TurnBackend(harness.store, receiver, harness.store.artifacts(), LEASE, clock))


async def claim(claims: TurnClaims | TurnRunner, message: TurnMessage) -> TurnLease | None:
    """None, too, for a turn that has to wait for an earlier one."""
    claimed = await claims.claim(message, str)
    return claimed.lease if isinstance(claimed, ClaimedTurn) else None


async def refuse(*_: Any, **__: Any) -> Any:
    raise StorageError("ServerBusy")


def plain(text: str) -> str:
    """What was answered, without the notes that it was interrupted."""
    return text.replace(f"\n\n{INTERRUPTION_NOTE.english}\n\n", "").replace(f"{INTERRUPTION_NOTE.english}\n\n", "")


async def vanishing(harness: TurnHarness, moment: float, seconds: float, question: str = "How?") -> None:
    first = harness.worker(seconds)
    asking = asyncio.create_task(first.ask(question))
    await asyncio.sleep(moment)
    first.wire.cut()
    async with ends_with(asking):
        await harness.later()
        await harness.worker().ask(question)
        await harness.later()
