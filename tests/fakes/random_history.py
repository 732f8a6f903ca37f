"""A random history of one chat: several questions on several workers, with kills, stalls, outages and channel faults.

In virtual time; the seed decides everything. Faults are spaced so that every promise of docs/reliability.md holds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.agent.turn import Turn
from app.agent.user_messages import CONTINUE_PROMPT, INTERRUPTION_NOTE
from app.bot.channel import Channel
from app.bot.connector.send_errors import SendError
from app.bot.replies.parts_delivery import SENT_AGAIN
from app.models.model import Completed, ModelEvent, ModelRequest, TextDelta
from app.storage.conversations import StoredMessage
from app.storage.queue import ReceivedMessage
from app.storage.sqlite.sqlite_store import SqliteStore
from app.storage.storage_errors import StorageError
from app.turns.reply import UndeliveredError
from tests.fakes.channel_faults import Faults, FaultyChat, FaultyStorage
from tests.fakes.turn_harness import ANN, TurnHarness, Worker, now
from tests.fakes.virtual_time import VirtualTimeLoop

Json = dict[str, Any]
NOTES = (
    SENT_AGAIN.english,
    INTERRUPTION_NOTE.english,
    "*(The answer continues in the next message.)*",
    "*This takes a while. I am still working on it…*",
    "*That was all.*",
)
_LOCK_SECONDS = 30.0
_REPEATED_AFTER = 15.0


@dataclass
class Question:
    number: int
    sent_at: float
    kind: str
    seconds: float
    claimed: float | None = None
    entered_at: float | None = None

    @property
    def id(self) -> str:
        return str(self.number)

    @property
    def words(self) -> list[str]:
        count = {"short": 3, "long": 60, "table": 24, "code": 20, "huge": 400}[self.kind]
        return [f"q{self.number}w{index}" for index in range(count)]

    @property
    def answer(self) -> str:
        words = self.words
        if self.kind == "table":
            rows = [f"| {words[at]} | {words[at + 1]} |" for at in range(0, len(words) - 2, 2)]
            return "\n".join([rows[0], "| --- | --- |", *rows[1:], "", " ".join(words[-2:])])
        if self.kind == "code":
            return "\n".join([words[0], "", "```python", *words[1:-1], "```", "", words[-1]])
        return " ".join(words)


class Answers:
    """A model that says each question's answer, or the rest of it when it is asked to go on."""

    name = "answers"

    def __init__(self, questions: dict[str, Question], asked: list[str]) -> None:
        self._questions = questions
        self._asked = asked

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        goes_on = request.messages[-1].content == CONTINUE_PROMPT
        asked = request.messages[-3 if goes_on else -1].content
        said = request.messages[-2].content if goes_on else ""
        question = self._questions[asked]
        self._asked.append(question.id)
        answer = question.answer
        assert answer.startswith(said), f"a part of the answer that never was: {said!r}"
        pieces = [answer[at : at + 7] for at in range(len(said), len(answer), 7)]
        for piece in pieces:
            await asyncio.sleep(question.seconds / max(1, len(answer) / 7))
            yield TextDelta(piece)
        yield Completed()

    async def close(self) -> None:
        pass


class History:
    def __init__(
        self, seed: int, channel: Channel, folder: Path, *, kills: int = 2, odd_timestamps: bool = False
    ) -> None:
        self.chance = random.Random(seed)
        self.channel = channel
        self.folder = folder
        self.kills = kills
        self.odd_timestamps = odd_timestamps
        self.questions: dict[str, Question] = {}
        self.asked: list[str] = []
        self.told_to_ask_again: set[str] = set()
        self.events: list[str] = []
        self.errors: list[BaseException] = []
        self.faults = Faults(self.chance)
        self.chat = FaultyChat(faults=self.faults)
        self.memory: list[StoredMessage] = []
        self.workers: list[Worker] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._owned: dict[asyncio.Task[Any], Worker] = {}

    def play(self) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
            virtual.run(self._play())

    def _note(self, said: str) -> None:
        self.events.append(f"{now() - 1000:8.2f} {said}")

    def _worker(self) -> Worker:
        worker = self.harness.worker()
        worker.model = Answers(self.questions, self.asked)  # type: ignore[assignment]
        worker.runner._agent._model = worker.model  # type: ignore[attr-defined]
        return worker

    async def _play(self) -> None:
        clock = asyncio.get_running_loop().time
        store = SqliteStore(self.folder / "agent.sqlite", clock=clock)
        self.store = store
        self.harness = TurnHarness(FaultyStorage(store, self.faults), self.chat, self.channel)  # type: ignore[arg-type]
        self.harness.store.queue = lambda name: FaultyStorage(store.queue(name), self.faults)  # type: ignore[method-assign,assignment,return-value]
        self.harness.store.artifacts = lambda: FaultyStorage(store.artifacts(), self.faults)  # type: ignore[method-assign,assignment,return-value]
        self.workers = [self._worker() for _ in range(self.chance.choice((2, 3)))]
        self._plan()
        host = asyncio.create_task(self._host())
        asking = [asyncio.create_task(self._ask(question)) for question in self.questions.values()]
        killing = asyncio.create_task(self._kill())
        await asyncio.sleep(900)
        host.cancel()
        self.memory = await store.recent(ANN, 99)
        pending = [task for task in (*asking, killing) if not task.done()]
        for task in (*pending, host, *self._tasks, *self._owned):
            task.cancel()
        await asyncio.gather(*pending, host, *self._tasks, *self._owned, return_exceptions=True)
        await store.close()

    def _plan(self) -> None:
        chance, at = self.chance, 0.0
        for number in range(chance.randint(2, 5)):
            at += chance.choice((0.0, 0.01, 0.3, 1.0, 4.0, 12.0)) * chance.random()
            kind = chance.choice(("short", "short", "long", "table", "code", "huge"))
            seconds = chance.choice((0.01, 0.3, 1.0, 3.0, 8.0) if kind == "short" else (0.5, 3.0, 8.0, 25.0))
            claimed: float | None = 1000 + at
            if self.odd_timestamps:
                # Of another clock, of none, or the same for all.
                claimed = chance.choice((claimed, None, 0.0, 1000.0, 1000 - 3e9, 1000 + at + 90, 1000 + at - 90, 4e12))
            self.questions[f"Question {number}"] = Question(number, 1000 + at, kind, seconds, claimed)
        if chance.random() < 0.4:
            start = 1000 + chance.uniform(0, at + 6)
            self.faults.storage_away.append((start, start + chance.choice((1.0, 3.5, 5.0))))
            self.faults.storage_hangs = chance.random() < 0.6
        for _ in range(chance.randint(0, 2)):
            start = 1000 + chance.uniform(0, at + 15)
            kind = chance.choice(("refused", "throttled", "lost", "answer lost"))
            self.faults.channel_away.append((start, start + chance.uniform(0.1, 4), kind))

    async def _ask(self, question: Question) -> None:
        await asyncio.sleep(question.sent_at - now())
        first = self.chance.randrange(len(self.workers))
        if self.chance.random() < 0.15:
            again = asyncio.create_task(self._repeat(question, self.chance.uniform(1, 20)))
            self._tasks.add(again)
        for number in range(6):
            if await self._deliver(question, self.workers[(first + number) % len(self.workers)]):
                return

    async def _repeat(self, question: Question, after: float) -> None:
        await asyncio.sleep(after)
        self._note(f"repeat {question.id}")
        await self._deliver(question, self.chance.choice(self.workers))

    async def _deliver(self, question: Question, worker: Worker) -> bool:
        entered = asyncio.Event()

        def note_entered() -> None:
            if question.entered_at is None:
                question.entered_at = now()
            entered.set()

        text = f"Question {question.number}"
        at = self.workers.index(worker) if worker in self.workers else "one that is gone"
        self._note(f"ask {question.id} ({question.kind}, {question.seconds} s) at {at}")
        task = asyncio.create_task(
            worker.runner.run(
                Turn(question.id, ANN, text),
                worker.reply,
                asked_at=question.claimed,
                payload=text,
                entered=note_entered,
            )
        )
        self._owned[task] = worker
        waiter = asyncio.create_task(entered.wait())
        await asyncio.wait([task, waiter], timeout=_REPEATED_AFTER, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, StorageError):
                self._note(f"told to ask again {question.id}")
                self.told_to_ask_again.add(question.id)
                return True
            if not isinstance(error, SendError | UndeliveredError):
                self.errors.append(error)
            return True
        return entered.is_set()

    async def _host(self) -> None:
        queue = self.store.queue("turns")
        while True:
            if self.faults.storage_back() is None:
                for taken in await queue.receive(16, visibility_timeout=_LOCK_SECONDS):
                    task = asyncio.create_task(self._resume(self.chance.choice(self.workers), taken))
                    self._tasks.add(task)
            await asyncio.sleep(1.0)

    async def _resume(self, worker: Worker, taken: ReceivedMessage) -> None:
        task = asyncio.create_task(worker.resume(taken.body))
        self._owned[task] = worker
        await asyncio.wait([task])
        if task.cancelled():
            return
        error = task.exception()
        if error is None or isinstance(error, SendError | UndeliveredError):
            with suppress(Exception):
                await self.store.queue("turns").delete(taken.receipt)
        elif not isinstance(error, StorageError):
            self.errors.append(error)

    async def _kill(self) -> None:
        chance = self.chance
        last = max(question.sent_at for question in self.questions.values())
        for _ in range(chance.randint(0, self.kills)):
            await asyncio.sleep(chance.choice((1.0, (last - 1000 + 10), 40.0)) * chance.random())
            reply_state = chance.randrange(len(self.workers))
            worker = self.workers[reply_state]
            match chance.choice(("kill", "kill", "stall", "stop")):
                case "kill":
                    self._note(f"kill {reply_state}")
                    worker.wire.cut()
                    self.workers[reply_state] = self._worker()
                case "stall":
                    seconds = chance.choice((2.0, 20.0, 45.0))
                    self._note(f"stall {reply_state} for {seconds}")
                    worker.wire.cut()
                    asyncio.get_running_loop().call_later(seconds, worker.wire.join)
                    self.workers[reply_state] = self._worker()
                case "stop":
                    self._note(f"stop {reply_state}")
                    self.workers[reply_state] = self._worker()
                    for task, owner in list(self._owned.items()):
                        if owner is worker:
                            task.cancel()
