"""Watchers that take turns at every store write and every request, die anywhere and get unclear answers, while a
person may repair the run too: the attempt that failed is retried exactly once.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import WorkspaceError
from app.jobs.repairs.job_repairs import JobRepairs
from app.jobs.repairs.repair_request import RepairRequest, RepairResult
from app.local.job_plans import SUCCESS, TaskPlan, failure, in_turn
from app.local.stand_in_replies import RefusedRequestError, invalid_parameter
from app.storage.documents import Document, DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.job_service import JobService, job_service
from tests.jobs.repairs.repair_harness import Killed

WATCHERS = 3
FAULTS = ["carried out, unavailable", "carried out, cut", "carried out, page", "unavailable", "rate limited"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """`turns` name the watcher that makes its next step, before and after each write and each request, and what happens
    to it there. `person_at` is the turn before which a person repairs the run; `pause_at` that before which all of them
    stand still for longer than a claim lasts. `same_request`: all watchers act for the same incident. `is_repairable`:
    False for a run that the service does not repair.
    """

    turns: tuple[tuple[int, str], ...]
    faults: tuple[str, ...]
    person_at: int | None
    pause_at: int | None
    same_request: bool
    is_repairable: bool


SCHEDULES = st.builds(
    Schedule,
    turns=st.lists(
        st.tuples(st.integers(0, WATCHERS - 1), st.sampled_from(["goes on"] * 9 + ["dies"])), min_size=8, max_size=40
    ).map(tuple),
    faults=st.lists(st.sampled_from(FAULTS), max_size=3).map(tuple),
    person_at=st.none() | st.integers(0, 30),
    pause_at=st.none() | st.integers(0, 30),
    same_request=st.booleans(),
    is_repairable=st.booleans(),
)


class Turns:
    """Lets one watcher at a time make its next step."""

    def __init__(self) -> None:
        self._waits = [asyncio.Event() for _ in range(WATCHERS)]
        self._given: dict[int, asyncio.Future[str]] = {}

    async def take(self, watcher: int) -> None:
        self._given[watcher] = asyncio.get_running_loop().create_future()
        self._waits[watcher].set()
        if await self._given[watcher] == "dies":
            raise Killed

    async def give(self, watcher: int, what: str, task: asyncio.Task[Any]) -> None:
        await self._until_it_waits(watcher, task)
        if not task.done():
            self._waits[watcher].clear()
            self._given[watcher].set_result(what)
            await self._until_it_waits(watcher, task)

    async def _until_it_waits(self, watcher: int, task: asyncio.Task[Any]) -> None:
        waits = asyncio.create_task(self._waits[watcher].wait())
        await asyncio.wait({task, waits}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()


class SteppedDocuments:
    def __init__(self, documents: DocumentStore, step: Callable[[], Awaitable[None]]) -> None:
        self._documents, self._step = documents, step

    async def put(self, document: Document) -> Document:
        await self._step()
        written = await self._documents.put(document)
        await self._step()
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)


class SteppedApi:
    def __init__(self, api: JobsApi, step: Callable[[], Awaitable[None]]) -> None:
        self._api, self._step = api, step

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any, **named: Any) -> Any:
            await self._step()
            result = await getattr(self._api, name)(*args, **named)
            await self._step()
            return result

        return call


async def live_through(jobs: JobService, documents: DocumentStore, schedule: Schedule) -> None:
    job_id = jobs.add(TaskPlan("load", in_turn(failure("ValueError: bad"), SUCCESS)), parameters={"day": "today"})
    run = jobs.store.start(job_id)
    jobs.now += 3600
    names = [f"incident {0 if schedule.same_request else number}" for number in range(WATCHERS)]
    requests = [RepairRequest(name, run.run_id, job_id, run.rounds[-1].ends_at) for name in names]
    jobs.stand_in.faults["runs/repair"].extend(schedule.faults)  # type: ignore[arg-type]
    jobs.stand_in.faults["run-now"].extend(schedule.faults)  # type: ignore[arg-type]
    turns, tasks = Turns(), []
    for number in range(WATCHERS):

        async def step(watcher: int = number) -> None:
            await turns.take(watcher)

        api, stepped = SteppedApi(jobs.api, step), SteppedDocuments(documents, step)
        repairs = JobRepairs(api, stepped, workspace="w", clock=lambda: jobs.now)  # type: ignore[arg-type]
        tasks.append(asyncio.create_task(repairs.start(requests[number])))
    repair = jobs.store.repair
    if not schedule.is_repairable:
        jobs.store.repair = _refused  # type: ignore[method-assign]
    person = 0
    for place, (watcher, what) in enumerate(schedule.turns):
        if place == schedule.pause_at:
            jobs.now += 200
        if place == schedule.person_at and schedule.is_repairable:
            with suppress(RefusedRequestError):
                person = repair(run.run_id, failed_tasks=True)
        await turns.give(watcher, what, tasks[watcher])
    for task in tasks:
        task.cancel()
    with suppress(Killed):
        await asyncio.gather(*tasks, return_exceptions=True)
    # Whoever is left, or comes after them, goes on.
    results = [RepairResult() for _ in requests]
    for _ in range(5):
        jobs.now += 200
        for number, request in enumerate(requests):
            with suppress(WorkspaceError):
                results[number] = await JobRepairs(jobs.api, documents, workspace="w", clock=lambda: jobs.now).start(
                    request
                )
    jobs.store.repair = repair  # type: ignore[method-assign]
    retries = len(run.rounds) - 1 + len(list(jobs.store.runs_by_start(job_id=job_id))) - 1
    assert retries == 1, f"retried {retries} times"
    started = {each.started for each in results}
    assert len(started) == 1, started
    [retry] = started
    assert retry is not None
    if not schedule.is_repairable:
        assert (retry.kind, retry.by_us) == ("run", True)
    elif person:
        assert retry.repair_id == person
    else:
        assert (retry.kind, retry.by_us) == ("repair", True)


def _refused(run_id: int, **_: object) -> int:
    raise invalid_parameter(f"Run {run_id} has no failed tasks to repair.")


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(SCHEDULES)
def test_a_failed_attempt_is_retried_once_in_every_schedule(schedule: Schedule) -> None:
    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = SqliteStore(Path(folder) / "store.db")
            documents = store.documents()
            async with job_service() as jobs:
                await live_through(jobs, documents, schedule)
            await documents.close()
            await store.close()

    asyncio.run(live())
