"""One run of the fault test: people ask, workers are killed, and the run waits until all is quiet."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.azurite import Azurite, installed
from tests.faults.channel_faults import ChannelFaults
from tests.faults.chaos import Chaos
from tests.faults.deliveries import Deliveries
from tests.faults.heartbeat import Heartbeat
from tests.faults.model import ModelEndpoint
from tests.faults.plan import Plan, Question
from tests.faults.storage import LedgerReader
from tests.faults.tap import Tap
from tests.faults.teams import Teams
from tests.faults.workers import Worker, Workers

WORKERS = 3
LEASE_SECONDS = 3
# Seconds after the last question in which everything has to be answered.
_LONGEST_TAIL = 45.0
# Seconds beside those in which questions come in; a run that is not over by then hangs.
_LONGEST_REST = 150.0
# Seconds of silence in which a late second answer would have come: a lease, its margin and a poll.
_QUIET_FOR = LEASE_SECONDS + 3.0
# Seconds that a message stays hidden when the host that has just taken it is killed; Azure's time is 600.
LOCK_SECONDS = 30.0
# Longer than this nobody waits for a message whose turn is closed.
_LONGEST_HIDDEN = 60.0


@dataclass(slots=True)
class Run:
    """All that came of it. Times in seconds of the run. `waiting` are messages that are left on the queue: those that
    are still hidden too, where that is waited for.
    """

    plan: Plan
    teams: Teams
    model: ModelEndpoint
    workers: Workers
    deliveries: Deliveries
    ledger_reader: LedgerReader
    chaos: Chaos
    tap: Tap
    heartbeat: Heartbeat
    lock_seconds: float = LOCK_SECONDS
    waiting: int = 0
    poisoned: int = 0
    histories: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    seconds_to_start: float = 0.0
    seconds: float = 0.0

    def question(self, name: str) -> Question:
        return next(question for question in self.plan.questions if question.id == name)

    def first_sent(self, question: Question) -> float:
        return min(delivery.at for delivery in self.deliveries.of(question.id))

    def stopped_on_purpose(self, worker: Worker) -> bool:
        return worker in self.workers.current


async def perform(
    plan: Plan,
    folder: Path,
    inject: Callable[[Run], Coroutine[Any, Any, None]] = lambda run: run.chaos.inject(),
    *,
    lock_seconds: float = LOCK_SECONDS,
    longest_rest: float = _LONGEST_REST,
) -> Run:
    """`inject` is what happens while people ask. Raises whatever keeps it from being a test at all;
    `tests.faults.verdict` judges what came of it.
    """
    program = await asyncio.to_thread(installed)
    started = time.monotonic()
    async with _stage(plan, folder, program, lock_seconds) as run:
        run.seconds_to_start = time.monotonic() - started
        try:
            async with asyncio.timeout(plan.seconds + longest_rest + lock_seconds):
                await _play(run, inject)
        except TimeoutError:
            raise AssertionError("\n".join(["a run hangs:", *_still_open(run)])) from None
        run.seconds = run.chaos.clock()
        return run


async def _play(run: Run, inject: Callable[[Run], Coroutine[Any, Any, None]]) -> None:
    questions = run.plan.questions
    chaos = asyncio.create_task(inject(run))
    try:
        await asyncio.gather(*map(run.deliveries.deliver, questions))
        await chaos
    finally:
        chaos.cancel()
        await asyncio.wait([chaos])
    await _until_answered(run, questions[-1].asked_at + _LONGEST_TAIL + run.lock_seconds)
    await asyncio.sleep(_QUIET_FOR)
    if run.lock_seconds <= _LONGEST_HIDDEN:
        await run.ledger_reader.queue_is_empty(run.lock_seconds + 5)
        run.waiting = await run.ledger_reader.waiting()
    else:
        run.waiting = await run.ledger_reader.visible()
    await run.ledger_reader.open_turns(questions)
    run.poisoned = await run.ledger_reader.poisoned()
    for question in questions:
        if question.conversation not in run.histories:
            run.histories[question.conversation] = await run.ledger_reader.history(question)
    await run.workers.stop()


def _still_open(run: Run) -> Iterator[str]:
    """What it waited for, as far as is known here."""
    for question in run.plan.questions:
        deliveries = run.deliveries.of(question.id)
        if not any(delivery.taken for delivery in deliveries):
            yield f"{question.text!r} was delivered {len(deliveries)} times and not taken"
        elif not run.teams.finals(question.id):
            yield f"{question.text!r} has no answer"
        elif question.id not in run.ledger_reader.closed:
            yield f"{question.text!r} is answered, and nobody has seen that it was closed"
    for worker in run.workers.all.values():
        if worker.process.returncode is None:
            asked = f", asked to end at {worker.killed_at:.1f} s" if worker.killed_at is not None else ""
            yield f"worker {worker.name} runs{asked}"


@asynccontextmanager
async def _stage(plan: Plan, folder: Path, program: Path, lock_seconds: float) -> AsyncIterator[Run]:
    """The run's clock begins when all workers are ready."""
    began = time.monotonic()

    def clock() -> float:
        return time.monotonic() - began

    questions = {question.id: question for question in plan.questions}
    async with AsyncExitStack() as stack:
        azurite = stack.enter_context(Azurite(program))
        teams = await stack.enter_async_context(
            Teams(questions, ChannelFaults(plan.seed) if plan.kills else None, clock)
        )
        model = await stack.enter_async_context(ModelEndpoint(questions, clock))

        tap = await stack.enter_async_context(Tap(azurite, clock))

        def settings(worker: str) -> dict[str, str]:
            shared = _shared(tap.connection_string_for(worker))
            return {**settings_of(folder), **model.settings_for(worker), **shared}

        host = ("--lock-seconds", str(lock_seconds))
        workers = await stack.enter_async_context(Workers(WORKERS, folder, settings, clock, *host))
        ledger_reader = await stack.enter_async_context(LedgerReader(azurite.connection_string))
        client = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        deliveries = Deliveries(client, workers, teams.service_url, plan.seed, clock)
        began = time.monotonic()
        heartbeat = Heartbeat(clock)
        await stack.enter_async_context(heartbeat.beating())
        chaos = Chaos(plan, workers, azurite, ledger_reader, tap, clock)
        yield Run(plan, teams, model, workers, deliveries, ledger_reader, chaos, tap, heartbeat, lock_seconds)


def settings_of(folder: Path) -> dict[str, str]:
    """Of any worker. No history is left out for its length."""
    return {"DATA_DIR": str(folder), "HISTORY_TOKEN_BUDGET": "100000"}


def _shared(connection_string: str) -> dict[str, str]:
    queues = "AzureFunctionsJobHost__extensions__queues__"
    return {
        "AzureWebJobsStorage": connection_string,
        "TURN_LEASE_SECONDS": str(LEASE_SECONDS),
        f"{queues}maxPollingInterval": "00:00:00.3",
        f"{queues}visibilityTimeout": "00:00:01",
    }


async def _until_answered(run: Run, deadline: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, deadline - run.chaos.clock())):
            await run.teams.all_answered()
            await run.ledger_reader.none_open(run.plan.questions)
