"""Finds the runs of the watched jobs that failed since the last look, however long ago they began."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from app.common.concurrency import gather_or_cancel
from app.databricks.jobs_api import JobsApi
from app.jobs.job_policy import JobPolicy, PolicyOf
from app.jobs.runs.ended_runs import PolicyOfId, SortedRuns, sorted_runs
from app.jobs.runs.lateness import late_jobs
from app.jobs.runs.long_runs import durations_after, long_runs
from app.jobs.runs.look import Look
from app.jobs.runs.run_lists import RunLists, Runs
from app.jobs.runs.run_summary import RunSummary
from app.jobs.runs.watch_state import JobsState, RunsState, WatchState, WatchStateStore
from app.jobs.runs.watched_jobs import (
    JOB_REFUSALS,
    MAX_JOBS_READ_ONE_BY_ONE,
    JobSelection,
    WatchedJobs,
    watched_job,
    watched_jobs,
)
from app.storage.documents import DocumentStore

FIRST_LOOK_HOURS = 24
LOOK_BACK_HOURS = 24
"""A run that began this long before the last look is found however it ended, even if it was repaired meanwhile. Older
runs are found if a look has seen them active.
"""
_LONGEST_LOOK_BACK_HOURS = 8 * 24
# For clocks that differ, and for runs that a list shows late.
_OVERLAP_HOURS = 1
_HOUR_MS = 3_600_000
# Runs of a notebook that another notebook began: their failure is an error in the other one.
_NO_RUN_OF_A_JOB = "WORKFLOW_RUN"


class RunWatch:
    """`clock` gives seconds since 1970. Without `documents` it remembers what it saw in this object alone."""

    def __init__(
        self,
        api: JobsApi,
        documents: DocumentStore | None,
        *,
        workspace: str,
        jobs: JobSelection | None = None,
        policy_of: PolicyOf = lambda *_: JobPolicy(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._selection = jobs or JobSelection()
        self._states = WatchStateStore(documents, workspace=workspace, selection=self._selection)
        self._lists = RunLists(api)
        self._policy_of = policy_of
        self._clock = clock

    async def look(self) -> Look:
        """What happened since the look that was saved last; a first look sees 24 hours. It may be called again any
        number of times before it is saved, and finds the same.

        Raises `WorkspaceError` where the workspace cannot be read, and `StorageError`.
        """
        state, before, now_ms = await self._state()
        from_ms = max(before.since_ms - LOOK_BACK_HOURS * _HOUR_MS, now_ms - _LONGEST_LOOK_BACK_HOURS * _HOUR_MS)
        jobs = await watched_jobs(self._api, self._selection)
        runs, notes = await self._runs(jobs, before, from_ms, now_ms)
        by_job = _by_job(runs.values(), jobs)
        watched = [run for each in by_job.values() for run in each]
        found = await self._sorted(by_job, before, jobs, now_ms)
        late = late_jobs(
            jobs.jobs.values(), by_job, state.jobs, policy_of=self._policies(jobs), from_ms=from_ms, now_ms=now_ms
        )
        too_long = await long_runs(
            watched, jobs.jobs, state, policy_of=self._policies(jobs), lists=self._lists, now_ms=now_ms
        )
        after = WatchState(
            _runs_after(before, found, runs.values(), watched, now_ms),
            JobsState(late=late.since, long_runs=too_long.since, schedules=late.schedules).bounded(),
            durations_after(watched, state.durations).bounded(),
        )
        return Look(
            failed=tuple(found.failed),
            with_failures=tuple(found.with_failures),
            healed=tuple(found.healed),
            late=tuple(late.late),
            too_long=tuple(too_long.new),
            over=(*late.over, *too_long.over),
            notes=(*jobs.notes, *notes, *late.notes),
            runs_listed=len(runs),
            jobs=jobs.jobs,
            state=after,
        )

    async def look_at(self, run_id: int) -> Look:
        """What became of one run, such as one that a notification named: what `look` would find, at once. Nothing where
        the run has not ended, is not watched, cannot be read, was handled before, or belongs to another run.

        Raises as `look` does.
        """
        state, before, now_ms = await self._state()
        run = await self._lists.one(run_id)
        if run is None or not before.is_new(run) or run.trigger == "RUN_JOB_TASK":
            return Look(state=state)
        jobs = await watched_job(self._api, run.job_id, self._selection)
        listed = await self._lists.of_job(run.job_id, run.started_ms)
        # What ended beside it is for a look that sees what came before that.
        others = {each.run_id: each.ended_ms for each in listed.values() if each.run_id != run_id}
        known = before.model_copy(update={"handled": {**before.handled, **others}})
        found = await self._sorted(_by_job({**listed, run_id: run}.values(), jobs), known, jobs, now_ms)
        changes = {
            "handled": {**before.handled, **found.handled},
            "open_runs": (*before.open_runs, *found.waiting),
            "streaks": found.streaks,
        }
        return Look(
            failed=tuple(found.failed),
            with_failures=tuple(found.with_failures),
            healed=tuple(found.healed),
            runs_listed=len(listed),
            jobs=jobs.jobs,
            state=state._replace(runs=before.model_copy(update=changes).bounded()),
        )

    async def save(self, look: Look) -> None:
        """Call it once what `look` found is stored elsewhere: the next look does not find it again.

        Raises `StorageError`.
        """
        await self._states.save(look.state)

    async def _state(self) -> tuple[WatchState, RunsState, int]:
        """What is remembered, the same with the beginning of a first look, and the time in milliseconds."""
        state = await self._states.load()
        now_ms = int(self._clock() * 1000)
        since_ms = state.runs.since_ms or now_ms - FIRST_LOOK_HOURS * _HOUR_MS
        return state, state.runs.model_copy(update={"since_ms": since_ms}), now_ms

    def _policies(self, jobs: WatchedJobs) -> PolicyOfId:
        def policy_of(job_id: int) -> JobPolicy:
            job = jobs.jobs.get(job_id)
            return self._policy_of(job_id, "", {}) if job is None else self._policy_of(job_id, job.name, job.tags)

        return policy_of

    async def _sorted(
        self, by_job: Mapping[int, Sequence[RunSummary]], state: RunsState, jobs: WatchedJobs, now_ms: int
    ) -> SortedRuns:
        runs = [run for each in by_job.values() for run in each]
        return sorted_runs(
            by_job,
            state,
            jobs=jobs.jobs,
            policy_of=self._policies(jobs),
            evidence_of_others=await self._evidence_of_others(runs, state, jobs),
            # The service's clock may be ahead of ours.
            now_ms=max([now_ms, *(run.ended_ms for run in runs)]),
        )

    async def _runs(
        self, jobs: WatchedJobs, state: RunsState, from_ms: int, now_ms: int
    ) -> tuple[Runs, tuple[str, ...]]:
        notes: tuple[str, ...] = ()
        if jobs.ids is not None and len(jobs.ids) <= MAX_JOBS_READ_ONE_BY_ONE:
            found = await gather_or_cancel(self._runs_of_job(job_id, from_ms) for job_id in jobs.ids)
            runs = {run_id: run for each in found if isinstance(each, dict) for run_id, run in each.items()}
            notes = tuple(each for each in found if isinstance(each, str))
        else:
            listed = await gather_or_cancel(
                [
                    self._lists.active_before(from_ms),
                    self._lists.of_workspace(from_ms, now_ms, expected=state.listed),
                ]
            )
            runs = listed[0] | listed[1]
        forgotten = [run_id for run_id in state.open_runs if run_id not in runs]
        again = await gather_or_cancel(self._lists.one(run_id) for run_id in forgotten)
        old = {run.run_id: run for run in again if run is not None}
        return runs | await self._newer_than(old.values(), state) | old, notes

    async def _newer_than(self, old: Iterable[RunSummary], state: RunsState) -> Runs:
        """The runs of jobs that began after an old one that has failed now: the lists do not reach as far back."""
        failed: dict[int, int] = {}
        for run in old:
            if run.failed and state.is_new(run):
                failed[run.job_id] = min(run.started_ms, failed.get(run.job_id, run.started_ms))
        found = await gather_or_cancel(self._runs_of_job(*each) for each in failed.items())
        return {run_id: run for each in found if isinstance(each, dict) for run_id, run in each.items()}

    async def _runs_of_job(self, job_id: int, from_ms: int) -> Runs | str:
        try:
            active = await self._lists.active_before(from_ms, job_id=job_id)
            return active | await self._lists.of_job(job_id, from_ms)
        except JOB_REFUSALS:
            return f"The runs of job {job_id} could not be listed."

    async def _evidence_of_others(
        self, runs: Iterable[RunSummary], state: RunsState, jobs: WatchedJobs
    ) -> Collection[int]:
        """Runs that a task of another watched job began."""
        nested = [run for run in runs if run.trigger == "RUN_JOB_TASK" and run.failed and state.is_new(run)]
        parents = await gather_or_cancel(self._parent_job(run) for run in nested)
        return {run.run_id for run, parent in zip(nested, parents, strict=True) if _tells_of_it(parent, jobs)}

    async def _parent_job(self, run: RunSummary) -> int | None:
        """0 where it may not be seen, None where the run does not say."""
        if not run.parent_task_run_id:
            return None
        task_run = await self._lists.one(run.parent_task_run_id)
        return 0 if task_run is None else task_run.job_id


def _by_job(runs: Iterable[RunSummary], jobs: WatchedJobs) -> dict[int, list[RunSummary]]:
    """The runs of watched jobs."""
    found: defaultdict[int, list[RunSummary]] = defaultdict(list)
    for run in runs:
        if jobs.has(run.job_id) and run.run_type != _NO_RUN_OF_A_JOB:
            found[run.job_id].append(run)
    return found


def _tells_of_it(parent_job: int | None, jobs: WatchedJobs) -> bool:
    if parent_job is None:
        return jobs.ids is None
    return parent_job > 0 and jobs.has(parent_job)


def _runs_after(
    before: RunsState, found: SortedRuns, listed: Collection[RunSummary], watched: Iterable[RunSummary], now_ms: int
) -> RunsState:
    latest_end_ms = max((run.ended_ms for run in listed), default=0)
    open_runs = {run.run_id for run in watched if not run.has_ended} | set(found.waiting)
    changes = {
        # Never later than what the service's clock has told.
        "since_ms": max(before.since_ms, min(now_ms, latest_end_ms) - _OVERLAP_HOURS * _HOUR_MS),
        "listed": len(listed),
        "handled": {**before.handled, **found.handled},
        "open_runs": tuple(open_runs),
        "streaks": found.streaks,
    }
    return before.model_copy(update=changes).bounded()
