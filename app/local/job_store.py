"""The jobs of the stand-in workspace and their runs: starting, queueing, retries, repairs, cancelling, removal."""

from __future__ import annotations

import math
import sys
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

from app.local.job_plans import JobPlan, Outcome
from app.local.job_runs import TOO_MANY_RUNS, JobRun, Round, RoundPlanner, TaskRun
from app.local.stand_in_replies import RefusedRequestError, invalid_parameter

KEPT_SECONDS = 60 * 24 * 3600.0
LATEST_REPAIR_NEEDED = "The latest repair ID needs to be provided in order to create a new repair"


class JobStore:
    """`clock` gives the time in epoch seconds. `termination_seconds`: from a cancellation to the end of the run."""

    def __init__(self, clock: Callable[[], float], *, termination_seconds: float = 0.0) -> None:
        self.clock = clock
        self.jobs: dict[int, JobPlan] = {}
        self.created_at: dict[int, float] = {}
        self._termination_seconds = termination_seconds
        self._runs: dict[int, JobRun] = {}
        self._task_runs: dict[int, tuple[JobRun, TaskRun, TaskRun | None]] = {}
        self._runs_of_job: dict[int, list[JobRun]] = {}
        self._by_start: defaultdict[int | None, list[tuple[float, int]]] = defaultdict(list)
        self._unsettled: dict[int, JobRun] = {}
        self._ids = count(1_000_000_007, 1_003)
        self._run_of_token: dict[str, JobRun] = {}

    def add(self, plan: JobPlan) -> int:
        """The job's id."""
        job_id = next(self._ids)
        self.jobs[job_id] = plan
        self.created_at[job_id] = self.clock()
        return job_id

    def edit(self, job_id: int, plan: JobPlan) -> None:
        """Runs that have begun keep what they were; a repair uses this."""
        self.jobs[job_id] = plan

    def delete(self, job_id: int) -> None:
        """Its runs stay."""
        del self.jobs[job_id]

    def job(self, job_id: int) -> JobPlan:
        if job_id not in self.jobs:
            raise invalid_parameter(f"Job {job_id} does not exist.")
        return self._visible(self.jobs[job_id], f"Job {job_id}")

    def run(self, run_id: int) -> JobRun:
        self.settle()
        run = self._runs.get(run_id)
        if run is None or not self._is_kept(run):
            raise invalid_parameter(f"Run {run_id} does not exist.")
        self._visible(self.jobs.get(run.job_id, run.plan), f"Run {run_id}")
        return run

    def task_run(self, run_id: int) -> tuple[JobRun, TaskRun, TaskRun | None] | None:
        """With its run, and the for-each task where it is an iteration; None where no task has such a run."""
        self.settle()
        found = self._task_runs.get(run_id)
        if found is None or not self._is_kept(found[0]):
            return None
        run, task_run, for_each = found
        if not any(each is (for_each or task_run) for each in run.task_runs(self.clock())):
            return None
        self._visible(self.jobs.get(run.job_id, run.plan), f"Run {run_id}")
        return found

    def runs_by_start(
        self,
        *,
        newest_first: bool = True,
        job_id: int | None = None,
        after: tuple[float, int] | None = None,
        earliest: float = -math.inf,
        latest: float = math.inf,
    ) -> Iterator[JobRun]:
        """Those that may be seen and began from `earliest` to `latest`. `after` is the start and the id of the last one
        that was told.
        """
        self.settle()
        keys = self._by_start[job_id]
        first, end = bisect_left(keys, (earliest, 0)), bisect_right(keys, (latest, sys.maxsize))
        if after is not None and newest_first:
            end = min(end, bisect_left(keys, after))
        elif after is not None:
            first = max(first, bisect_right(keys, after))
        places = range(first, end)
        for place in places[::-1] if newest_first else places:
            run = self._runs[keys[place][1]]
            if self._is_kept(run) and not self.jobs.get(run.job_id, run.plan).is_hidden:
                yield run

    def start(
        self,
        job_id: int,
        parameters: Mapping[str, str] | None = None,
        *,
        at: float | None = None,
        trigger: str = "ONE_TIME",
        token: str = "",
    ) -> JobRun:
        """`at` may lie in the past, for the history of a job. A token that is known gives the run it began."""
        if token and token in self._run_of_token:
            return self.run(self._run_of_token[token].run_id)
        plan = self.job(job_id)
        run = self._new_run(job_id, plan, self.clock() if at is None else at, trigger, parameters or {})
        if token:
            self._run_of_token[token] = run
        if self._free_at(run) > run.started_at and not plan.is_queued:
            run.refused = TOO_MANY_RUNS
        self.settle()
        return run

    def repair(
        self,
        run_id: int,
        *,
        tasks: Sequence[str] = (),
        failed_tasks: bool = False,
        dependent_tasks: bool = False,
        parameters: Mapping[str, str] | None = None,
        latest_repair_id: int | None = None,
    ) -> int:
        """The id of the repair. It runs the tasks of the job as they are today; parameters do not carry over."""
        run, now = self.run(run_id), self.clock()
        plan = self.job(run.job_id)
        if run.is_active(now):
            raise invalid_parameter(f"Run {run_id} is in progress and cannot be repaired.")
        if not run.rounds:
            raise invalid_parameter(f"Run {run_id} never began, so there is nothing to repair.")
        latest = run.rounds[-1].repair_id
        if latest_repair_id != latest:
            raise invalid_parameter(
                LATEST_REPAIR_NEEDED if latest is not None else "The latest repair ID is not valid."
            )
        last = {each.plan.key: each for each in run.task_runs()}
        today = {task.key: task for task in plan.tasks}
        unknown = [key for key in tasks if key not in today]
        if unknown:
            raise invalid_parameter(f"Task keys {unknown} do not exist in the job.")
        chosen = set(tasks)
        if failed_tasks:
            chosen |= {key for key in today if key not in last or not last[key].outcome.succeeded}
        while dependent_tasks and (
            more := {key for key, task in today.items() if key not in chosen and chosen.intersection(task.depends_on)}
        ):
            chosen |= more
        if not chosen:
            raise invalid_parameter(f"Run {run_id} has no failed tasks to repair.")
        run.plan = plan
        repair_id = next(self._ids)
        self._begin_round(run, repair_id, now, parameters or {}, chosen)
        self.settle()
        return repair_id

    def cancel(self, run_id: int) -> None:
        self.run(run_id).cancel(self.clock(), self._termination_seconds)

    def settle(self) -> None:
        """What happened since the last look: queued runs begin, retries and continuous jobs start anew."""
        now = self.clock()
        progress = True
        while progress:
            progress = False
            for run in list(self._unsettled.values()):
                progress |= self._begin_if_free(run, now) or self._follow_up(run, now)

    def _begin_if_free(self, run: JobRun, now: float) -> bool:
        if run.refused is not None or run.begins_at is not None:
            return False
        free_at = self._free_at(run)
        if free_at > now:
            return False
        run.begins_at = free_at
        self._begin_round(run, None, free_at, run.parameters, None)
        return True

    def _free_at(self, run: JobRun) -> float:
        """When the job runs fewer than its limit at once, as far as that is known; infinite while others queue."""
        others = [
            other
            for other in self._runs_of_job[run.job_id]
            if other.refused is None and (other.started_at, other.run_id) < (run.started_at, run.run_id)
        ]
        ends = sorted(math.inf if other.ends_at is None else other.ends_at for other in others)
        later = [end for end in ends if end > run.started_at]
        surplus = len(later) - run.plan.max_concurrent_runs
        return run.started_at if surplus < 0 else later[surplus]

    def _follow_up(self, run: JobRun, now: float) -> bool:
        ends_at = run.ends_at
        if ends_at is None or ends_at > now:
            return False
        plan = self.jobs.get(run.job_id)
        trigger = "" if plan is None else _next_trigger(run, plan)
        at = ends_at if plan is None else ends_at + plan.retry_pause_seconds
        if trigger and at > now:
            return False
        del self._unsettled[run.run_id]
        if plan is None or not trigger:
            return False
        run.was_followed_up = True
        again = self._new_run(run.job_id, plan, at, trigger, run.parameters)
        if trigger == "RETRY":
            again.attempt_number = run.attempt_number + 1
            again.original_attempt_run_id = run.original_attempt_run_id
        return True

    def _new_run(self, job_id: int, plan: JobPlan, at: float, trigger: str, parameters: Mapping[str, str]) -> JobRun:
        run_id = next(self._ids)
        run = JobRun(run_id, job_id, plan, at, trigger, {**plan.parameters, **parameters})
        run.original_attempt_run_id = run_id
        self._runs[run_id] = self._unsettled[run_id] = run
        self._runs_of_job.setdefault(job_id, []).append(run)
        for key in (None, job_id):
            insort(self._by_start[key], (at, run_id))
        return run

    def _start_child(self, job_id: int, at: float, parent_task_run_id: int) -> JobRun:
        plan = self.jobs.get(job_id)
        if plan is None:
            gone = Outcome("RESOURCE_NOT_FOUND", "CLIENT_ERROR", f"Job {job_id} does not exist.", 0.0)
            return JobRun(next(self._ids), job_id, JobPlan("", ()), at, "RUN_JOB_TASK", {}, refused=gone)
        run = self._new_run(job_id, plan, at, "RUN_JOB_TASK", {})
        run.begins_at, run.parent_task_run_id = at, parent_task_run_id
        self._begin_round(run, None, at, run.parameters, None)
        return run

    def _begin_round(
        self, run: JobRun, repair_id: int | None, at: float, parameters: Mapping[str, str], only: set[str] | None
    ) -> None:
        resolved = {**run.plan.parameters, **parameters}
        planner = RoundPlanner(run, lambda: next(self._ids), self._start_child)
        task_runs = planner.plan(run.plan.tasks, only, at, resolved)
        ends_at = max([at, *(each.ends_at for each in task_runs)])
        run.rounds.append(Round(repair_id, at, resolved, task_runs, ends_at))
        self._unsettled[run.run_id] = run
        for each in task_runs:
            self._task_runs[each.run_id] = (run, each, None)
            for iteration in each.iterations:
                self._task_runs[iteration.run_id] = (run, iteration, each)

    def _is_kept(self, run: JobRun) -> bool:
        return self.clock() - KEPT_SECONDS < run.started_at <= self.clock()

    @staticmethod
    def _visible(plan: JobPlan, name: str) -> JobPlan:
        if plan.is_hidden:
            message = f"User does not have View permissions on {name}."
            raise RefusedRequestError(403, "PERMISSION_DENIED", message)
        return plan


def _next_trigger(run: JobRun, plan: JobPlan) -> str:
    """Of the run that begins because this one has ended; empty where none does."""
    if run.was_followed_up or run.refused is not None:
        return ""
    if plan.is_continuous:
        return "" if plan.is_paused else "CONTINUOUS"
    was_canceled = any(round_.canceled_at is not None for round_ in run.rounds)
    return "RETRY" if run.attempt_number < plan.max_retries and not (was_canceled or run.outcome().succeeded) else ""
