"""Requests on workers that are killed, stall and end, while storage fails at times and messages come again: each is
answered, with one value, and those of a conversation in order. In virtual time, by seeds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from app.foundry.requests.kept_values import hashed_id
from app.foundry.requests.tool_request import ToolRequest
from app.foundry.requests.tool_requests import REQUEST_QUEUE
from app.foundry.tools.foundry_tool import RefusedCallError
from app.storage.ledger import Predecessor, TurnRecord
from app.storage.queue import ReceivedMessage
from app.storage.storage_errors import StorageError
from app.turns.queue_dispatcher import ShuttingDownError
from app.turns.reply import UndeliveredError
from tests.fakes.chat import Wire
from tests.fakes.foundry_requests import RequestHarness, RequestWorker, in_virtual_time, now, request_of

# Each of the first lost a request once, which was neither on the queue nor answered while storage was away.
SOME = pytest.param([165, 190, 0], id="some")
MANY = pytest.param(range(1000, 1300), id="many", marks=[pytest.mark.slow, pytest.mark.proof])
# Azure's host hides a message that it has taken so long, and a message whose function failed.
_LOCK_SECONDS, _PAUSE_SECONDS, _MAX_DELIVERIES = 600.0, 10.0, 5
_POISONED = "poisoned"

_Result = TypeVar("_Result")


class FailingWire(Wire):
    """Some calls fail, before or after they were carried out, while `fails` says so."""

    def __init__(self, chance: random.Random, fails: Callable[[], bool]) -> None:
        super().__init__()
        self._chance = chance
        self._fails = fails

    async def carry(self, work: Callable[[], Awaitable[_Result]], latency: float = 0.02) -> _Result:
        if self._fails() and self._chance.random() < 0.5:
            await asyncio.sleep(latency)
            raise StorageError("ServerBusy")
        result = await super().carry(work, latency)
        if self._fails() and self._chance.random() < 0.2:
            raise StorageError("the answer was lost")
        return result


@dataclass
class Asked:
    """What became of one request: when it was recorded, when no earlier one could come before it any more, when each
    call began.
    """

    request: ToolRequest
    recorded_at: float | None = None
    started_at: float | None = None
    calls: list[tuple[float, asyncio.Task[Any]]] = field(default_factory=list)


class History:
    def __init__(self, seed: int, harness: RequestHarness) -> None:
        self.chance = random.Random(seed)
        self.harness = harness
        self.asked: dict[str, Asked] = {}
        self.events: list[str] = []
        self.faults: list[str] = []
        self.sent: list[tuple[str, str]] = []
        self._running: dict[str, str] = {}
        self._killed: list[RequestWorker] = []
        self._owned: dict[asyncio.Task[Any], RequestWorker] = {}
        start = now() + self.chance.uniform(0, 60)
        self._outage = (start, start + self.chance.choice((0.0, 3.0, 30.0, 120.0)))
        self._start = harness.store.start
        harness.store.start = self._note_start  # type: ignore[method-assign]
        self.workers = [self._worker() for _ in range(3)]
        self._queue = harness.store.queue(REQUEST_QUEUE)
        self._poison_queue = harness.store.queue(f"{REQUEST_QUEUE}-poison")

    async def play(self) -> None:
        chance = self.chance
        for number in range(chance.randint(3, 8)):
            conversation = chance.choice(("", "c", "c", "d"))
            await asyncio.sleep(chance.choice((0.0, 0.3, 5.0)) * chance.random())
            request = request_of(number, conversation=conversation, inserted_at=float(int(now())))
            self.asked[request.correlation_id] = Asked(request)
            self._later(chance.choice((0.0, 1.5)) * chance.random(), self._deliver(request))
            if chance.random() < 0.2:
                self._later(chance.choice((0.1, 10.0, 100.0, 900.0)), self._deliver(request))
        self._later(0, self._disturb())
        queue, poison = self._queue, self._poison_queue
        until = now() + 4000
        while now() < until:
            for received in await queue.receive(16, visibility_timeout=_LOCK_SECONDS):
                self._later(0, self._resume(received))
            for received in await poison.receive(16, visibility_timeout=_LOCK_SECONDS):
                self._later(0, self._refuse(received))
            self.sent += await self.harness.answers()
            await asyncio.sleep(2 if now() < until - 3000 else 20)
        for task in list(self._owned):
            task.cancel()
        await asyncio.gather(*self._owned, return_exceptions=True)

    def _worker(self) -> RequestWorker:
        worker = self.harness.worker(answer=self._answer, seconds=0.0, max_concurrent=2)
        begin, end = self._outage
        worker.wire.carry = FailingWire(self.chance, lambda: begin <= now() < end).carry  # type: ignore[method-assign]
        return worker

    def _note(self, said: str) -> None:
        self.events.append(f"{now() - 1000:8.2f} {said}")

    async def _note_start(self, record: TurnRecord, *, since: float = 0.0) -> Predecessor | None:
        """Carried out, though its answer may be lost on the way to the worker."""
        predecessor = await self._start(record, since=since)
        if predecessor is None:
            asked = next(each for id, each in self.asked.items() if hashed_id(id) == record.key.activity_id)
            asked.started_at = asked.started_at or now()
        return predecessor

    def _later(self, seconds: float, work: Awaitable[None]) -> None:
        async def run() -> None:
            await asyncio.sleep(seconds)
            await work

        # Of the host's, which no worker owns.
        self._owned[asyncio.create_task(run())] = None  # type: ignore[assignment]

    async def _answer(self, arguments: Mapping[str, Any]) -> str:
        id = f"call_{str(arguments['query']).split()[-1]}"
        asked, task = self.asked[id], asyncio.current_task()
        assert task is not None
        asked.calls.append((now(), task))
        self._note(f"call of {id}")
        order = asked.request.conversation
        if order and (other := self._running.get(order)) not in (None, id):
            self.faults.append(f"{id} runs beside {other}")
        if order:
            self._running[order] = id
        try:
            await asyncio.sleep(self.chance.choice((0.1, 2.0, 20.0)))
            match self.chance.random():
                case low if low < 0.15:
                    raise RefusedCallError(f"refused {len(asked.calls)}")
                case low if low < 0.3:
                    raise ValueError("SECRET")
            return f"{id} answer {len(asked.calls)} {self.chance.random()}"
        finally:
            if self._running.get(order) == id:
                del self._running[order]

    async def _deliver(self, request: ToolRequest) -> None:
        """As Azure's host does with a message of an input queue, and `FoundryHost` with what comes of it."""
        for _ in range(_MAX_DELIVERIES):
            if await self._delivered(request):
                return
        self._note(f"poison {request.correlation_id}")
        while not await self._delivered(replace(request, arguments={}, refusal=_POISONED)):
            pass

    async def _delivered(self, request: ToolRequest) -> bool:
        id, recorded = request.correlation_id, asyncio.Event()
        worker = self.chance.choice(self.workers)

        def note_recorded() -> None:
            recorded.set()
            self._note(f"recorded {id}")
            self.asked[id].recorded_at = self.asked[id].recorded_at or now()

        self._note(f"deliver {id} to {self.workers.index(worker)}")
        task = asyncio.create_task(worker.requests.answer(request, recorded=note_recorded))
        self._owned[task] = worker
        await asyncio.wait([task], timeout=_LOCK_SECONDS)
        if not task.done() or worker in self._killed:
            await asyncio.sleep(_LOCK_SECONDS)
            return False
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StorageError | UndeliveredError):
            self.faults.append(f"{id}: {error!r}")
        if (error is not None or task.cancelled()) and not recorded.is_set():
            await asyncio.sleep(_PAUSE_SECONDS)
            return False
        return True

    async def _resume(self, received: ReceivedMessage) -> None:
        worker = self.chance.choice(self.workers)
        if await self._ended_well(worker, worker.requests.process_message(received.body.encode())):
            await self._queue.delete(received.receipt)
        elif worker not in self._killed and received.dequeue_count >= _MAX_DELIVERIES:
            self._note("poison envelope")
            await self._poison_queue.put(received.body, visibility_timeout=0)
            await self._queue.delete(received.receipt)
        elif worker not in self._killed:
            with suppress(Exception):
                await self._queue.update_visibility(received.receipt, visibility_timeout=_PAUSE_SECONDS)

    async def _refuse(self, received: ReceivedMessage) -> None:
        """The host leaves a message that fails there hidden."""
        worker = self.chance.choice(self.workers)
        if await self._ended_well(worker, worker.requests.refuse_poisoned(received.body.encode(), "m1")):
            await self._poison_queue.delete(received.receipt)

    async def _ended_well(self, worker: RequestWorker, processing: Coroutine[Any, Any, None]) -> bool:
        task = asyncio.create_task(processing)
        self._owned[task] = worker
        await asyncio.wait([task])
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, StorageError | UndeliveredError | ShuttingDownError):
            self.faults.append(f"envelope: {error!r}")
        return not task.cancelled() and error is None and worker not in self._killed

    async def _disturb(self) -> None:
        for _ in range(self.chance.randint(0, 4)):
            await asyncio.sleep(self.chance.choice((2.0, 10.0, 60.0)) * self.chance.random())
            at = self.chance.randrange(len(self.workers))
            worker, self.workers[at] = self.workers[at], self._worker()
            mine = [task for task, owner in self._owned.items() if owner is worker]
            kind = self.chance.choice(("kill", "kill", "end"))
            self._note(f"{kind} {at}")
            if kind == "kill":
                self._killed.append(worker)
                worker.wire.cut()
            for task in mine:
                task.cancel()
            if kind == "end":
                await worker.requests.close()


def faults_of(history: History) -> Iterator[str]:
    yield from history.faults
    for id in history.asked:
        values = [value for each, value in history.sent if each == id]
        if not values:
            yield f"{id} was not answered"
        if len(set(values)) > 1:
            yield f"{id} has the values {values}"
        if any("SECRET" in each for each in values):
            yield f"{id} tells what failed"
    repeats = len(history.sent) - len({id for id, _ in history.sent})
    if repeats > history.harness.telemetry.counted("foundry.repeats", kind="value"):
        yield f"{repeats} values came again, and fewer are counted"
    yield from _overtaken(list(history.asked.values()))


def _overtaken(asked: list[Asked]) -> Iterator[str]:
    for first in asked:
        for then in asked:
            if first.request.conversation != then.request.conversation or not first.request.conversation:
                continue
            if first.request.inserted_at >= then.request.inserted_at or not first.calls or not then.calls:
                continue
            known = first.recorded_at is not None and first.recorded_at < (then.started_at or then.calls[0][0])
            if known and then.calls[0][0] < first.calls[0][0]:
                yield f"{then.request.correlation_id} was asked before {first.request.correlation_id}"


@pytest.mark.parametrize("seeds", [SOME, MANY])
def test_whatever_fails_each_request_is_answered_with_one_value_and_in_order(
    seeds: Iterable[int], tmp_path: Path
) -> None:
    wrong = {}
    for seed in seeds:

        @in_virtual_time
        async def script(harness: RequestHarness, seed: int = seed) -> None:
            history = History(seed, harness)
            await history.play()
            if faults := list(faults_of(history)):
                wrong[seed] = (faults, history.events)

        folder = tmp_path / str(seed)
        folder.mkdir()
        script(folder)
    assert wrong == {}
