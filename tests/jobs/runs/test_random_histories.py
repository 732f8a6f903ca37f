"""Random histories of runs, repairs and looks: each look finds what has failed and was not told, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.runs.run_watch import RunWatch
from app.local.job_plans import Outcome, TaskPlan, failure
from app.local.job_runs import JobRun
from tests.fakes.job_service import JobService, job_service

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Step:
    """After `hours`, a run of `job` begins, or else a failed run is repaired; the attempt takes `run_hours`. `look`
    says whether a look follows after `wait_hours`, and whether it is saved or its process ends before.
    """

    hours: float
    job: int
    repairs: bool
    fails: bool
    run_hours: float
    wait_hours: float
    look: str


STEPS = st.builds(
    Step,
    hours=st.sampled_from([0.01, 0.2, 3.0, 9.0, 19.0]),
    job=st.integers(0, 3),
    repairs=st.booleans(),
    fails=st.sampled_from([True, True, False]),
    run_hours=st.sampled_from([0.01, 0.05, 1.0, 30.0, 100.0]),
    wait_hours=st.sampled_from([0.0, 0.1, 2.0]),
    look=st.sampled_from(["saved", "killed", "none"]),
)


class History:
    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs
        self._next = Outcome()
        task = TaskPlan("load", lambda _: self._next)
        self._ids = [jobs.add(task, name=f"job {number}", max_concurrent_runs=1_000) for number in range(4)]
        self._runs: list[JobRun] = []
        self._told: set[str] = set()
        self._saved_at = jobs.now

    def take(self, step: Step) -> None:
        self._jobs.now += step.hours * HOUR
        self._next = failure("ValueError", seconds=step.run_hours * HOUR)
        if not step.fails:
            self._next = Outcome(seconds=step.run_hours * HOUR)
        # A repair that begins and ends between two looks is only found for runs of the last day.
        failed = [run for run in self._failed() if self._jobs.now - run.started_at < 20 * HOUR]
        if step.repairs and failed:
            latest = failed[0].rounds[-1].repair_id
            self._jobs.store.repair(failed[0].run_id, failed_tasks=True, latest_repair_id=latest)
        else:
            self._runs.append(self._jobs.store.start(self._ids[step.job]))

    async def look(self, watch: RunWatch, *, saves: bool) -> None:
        look = await watch.look()
        assert sorted(run.key for run in look.failed) == sorted(self._untold())
        if saves:
            await watch.save(look)
            self._told |= {run.key for run in look.failed}
            self._saved_at = self._jobs.now

    @property
    def is_long_unwatched(self) -> bool:
        return self._jobs.now - self._saved_at > 6 * 24 * HOUR

    def _failed(self) -> Sequence[JobRun]:
        now = self._jobs.now
        return [run for run in self._runs if not run.is_active(now) and not run.outcome().succeeded]

    def _untold(self) -> set[str]:
        return {f"{run.run_id}-{round((run.ends_at or 0) * 1000)}" for run in self._failed()} - self._told


async def live_through(steps: Sequence[Step], *, newest_first: bool) -> None:
    async with job_service() as jobs:
        jobs.stand_in.order = "newest first" if newest_first else "oldest first"
        history = History(jobs)
        watch = RunWatch(jobs.api, None, workspace="main", clock=lambda: jobs.now)
        await history.look(watch, saves=True)
        for step in steps:
            history.take(step)
            jobs.now += step.wait_hours * HOUR
            if step.look != "none" or history.is_long_unwatched:
                await history.look(watch, saves=step.look != "killed" or history.is_long_unwatched)
        jobs.now += 24 * HOUR
        await history.look(watch, saves=True)
        await history.look(watch, saves=True)


@settings(max_examples=40)
@given(st.lists(STEPS, min_size=12, max_size=25), st.booleans())
def test_no_failed_run_is_missed_and_none_is_found_twice(steps: list[Step], newest_first: bool) -> None:
    asyncio.run(live_through(steps, newest_first=newest_first))
