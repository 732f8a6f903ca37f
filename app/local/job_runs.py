"""Runs of the stand-in's jobs. What a run will do is planned when it begins; how much is seen depends on the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from app.local.job_plans import Attempt, JobPlan, Outcome, TaskPlan

CANCELED = Outcome("USER_CANCELED", "CLIENT_ERROR", "Run cancelled.", 0.0)
UPSTREAM_FAILED = Outcome("SKIPPED", "CLIENT_ERROR", "An upstream task failed.", 0.0)
TOO_MANY_RUNS = Outcome(
    "MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR", "The maximum number of concurrent runs has been reached.", 0.0
)

StartChild = Callable[[int, float, int], "JobRun"]


@dataclass(slots=True)
class TaskRun:
    """One attempt. It is seen from `created_at` on: blocked or waiting until `begins_at`. Times are epoch seconds."""

    run_id: int
    plan: TaskPlan
    attempt_number: int
    is_retry: bool
    created_at: float
    begins_at: float
    ends_at: float
    outcome: Outcome
    iterations: list[TaskRun] = field(default_factory=list)
    child: JobRun | None = None

    def state(self, now: float) -> str:
        if now < self.begins_at:
            return "WAITING" if self.is_retry else "BLOCKED"
        return "RUNNING" if now < self.ends_at else "TERMINATED"

    def cancel(self, at: float) -> None:
        if self.ends_at > at:
            self.begins_at = min(self.begins_at, at)
            self.ends_at = at
            self.outcome = CANCELED
            for iteration in self.iterations:
                iteration.cancel(at)
            if self.child is not None and self.child.started_at > at:
                self.child.started_at = math.inf
            elif self.child is not None:
                self.child.cancel(at)


@dataclass(slots=True)
class Round:
    """What the run did first, or a repair of it. `repair_id` is None for the first."""

    repair_id: int | None
    started_at: float
    parameters: Mapping[str, str]
    task_runs: list[TaskRun]
    ends_at: float
    canceled_at: float | None = None


@dataclass(slots=True)
class JobRun:
    """`begins_at` is None while the run is queued; `refused` says why it never began."""

    run_id: int
    job_id: int
    plan: JobPlan
    started_at: float
    trigger: str
    parameters: Mapping[str, str]
    attempt_number: int = 0
    original_attempt_run_id: int = 0
    parent_task_run_id: int = 0
    begins_at: float | None = None
    refused: Outcome | None = None
    rounds: list[Round] = field(default_factory=list)
    was_followed_up: bool = False

    @property
    def ends_at(self) -> float | None:
        if self.refused is not None:
            return self.started_at
        return self.rounds[-1].ends_at if self.rounds else None

    def state(self, now: float) -> str:
        ends_at = self.ends_at
        if ends_at is None:
            return "QUEUED"
        if now >= ends_at:
            return "TERMINATED"
        latest = self.rounds[-1]
        if latest.canceled_at is not None and now >= latest.canceled_at:
            return "TERMINATING"
        return "PENDING" if now < latest.started_at + self.plan.setup_seconds else "RUNNING"

    def is_active(self, now: float) -> bool:
        return self.state(now) != "TERMINATED"

    def task_runs(self, now: float | None = None) -> list[TaskRun]:
        """Every attempt that is seen at that time, or all."""
        runs = (each for round_ in self.rounds for each in round_.task_runs)
        return [each for each in runs if now is None or each.created_at <= now]

    def outcome(self, rounds: int | None = None) -> Outcome:
        """After the first `rounds`, or all. The tasks on which none depends decide."""
        if self.refused is not None:
            return self.refused
        latest = {each.plan.key: each for round_ in self.rounds[:rounds] for each in round_.task_runs}
        if any(each.outcome is CANCELED for each in latest.values()) or not latest:
            return CANCELED
        failed = [each for each in latest.values() if not each.outcome.succeeded]
        if not failed:
            return Outcome(seconds=0.0)
        needed = {key for each in latest.values() for key in each.plan.depends_on}
        if all(each.plan.key in needed for each in failed):
            return Outcome("SUCCESS_WITH_FAILURES", "SUCCESS", "Some tasks failed.", 0.0)
        causing = next((each for each in failed if each.outcome is not UPSTREAM_FAILED), failed[0])
        message = f"Task {causing.plan.key} failed with message: {causing.outcome.message}"
        return Outcome("RUN_EXECUTION_ERROR", "CLIENT_ERROR", message, 0.0)

    def cancel(self, at: float, termination_seconds: float = 0.0) -> None:
        """Nothing where the run has ended."""
        if self.refused is not None or not self.is_active(at):
            return
        if not self.rounds:
            self.refused = CANCELED
            return
        latest = self.rounds[-1]
        latest.task_runs = [each for each in latest.task_runs if each.created_at <= at]
        for each in latest.task_runs:
            each.cancel(at)
        latest.canceled_at, latest.ends_at = at, at + termination_seconds


class RoundPlanner:
    """Plans what a round of `run` will do: the attempts of every task, with their times.

    `new_id` gives run ids; `start_child` starts the run of a job that a task runs, whose run id comes last.
    """

    def __init__(self, run: JobRun, new_id: Callable[[], int], start_child: StartChild) -> None:
        self._run = run
        self._new_id = new_id
        self._start_child = start_child
        self._earlier = {each.plan.key: each for each in run.task_runs()}
        self._planned: dict[str, list[TaskRun]] = {}

    def plan(
        self, tasks: Iterable[TaskPlan], only: Collection[str] | None, at: float, parameters: Mapping[str, str]
    ) -> list[TaskRun]:
        self._tasks = {task.key: task for task in tasks}
        self._only = only
        self._at = at
        self._parameters = parameters
        for key in self._tasks:
            self._last(key)
        return [each for runs in self._planned.values() for each in runs]

    def _last(self, key: str) -> TaskRun | None:
        """The attempt of this task that counts for those that depend on it."""
        if self._only is not None and key not in self._only:
            return self._earlier.get(key)
        if key not in self._planned:
            self._planned[key] = self._attempts(self._tasks[key])
        return self._planned[key][-1]

    def _attempts(self, task: TaskPlan) -> list[TaskRun]:
        upstream = [each for each in map(self._last, task.depends_on) if each is not None]
        ready_at = max([self._at + self._run.plan.setup_seconds, *(each.ends_at for each in upstream)])
        number = sum(each.plan.key == task.key for each in self._run.task_runs())
        if not _may_run(task, [each.outcome.succeeded for each in upstream]):
            skipped = TaskRun(self._new_id(), task, number, False, self._at, ready_at, ready_at, UPSTREAM_FAILED)
            return [skipped]
        attempts = [self._attempt(task, number, self._at, ready_at)]
        while not attempts[-1].outcome.succeeded and len(attempts) <= task.max_retries:
            ended_at = attempts[-1].ends_at
            attempts.append(
                self._attempt(
                    task, number + len(attempts), ended_at, ended_at + task.retry_pause_seconds, is_retry=True
                )
            )
        return attempts

    def _attempt(
        self, task: TaskPlan, number: int, created_at: float, begins_at: float, *, is_retry: bool = False
    ) -> TaskRun:
        attempt = Attempt(number, self._run.attempt_number, self._parameters)
        run_id = self._new_id()
        if task.job_id:
            child = self._start_child(task.job_id, begins_at, run_id)
            ends_at = child.ends_at or begins_at
            outcome = child.outcome()
            if not outcome.succeeded:
                message = f"Run {child.run_id} of job {child.job_id} failed."
                outcome = Outcome("RUN_EXECUTION_ERROR", "CLIENT_ERROR", message, error=message)
            return TaskRun(run_id, task, number, is_retry, created_at, begins_at, ends_at, outcome, child=child)
        iterations = [self._iteration(task, behaviour(attempt), number, begins_at) for behaviour in task.iterations]
        outcome = _of_iterations(iterations) if iterations else task.behaviour(attempt)
        ends_at = max([begins_at + outcome.seconds, *(each.ends_at for each in iterations)])
        return TaskRun(run_id, task, number, is_retry, created_at, begins_at, ends_at, outcome, iterations)

    def _iteration(self, task: TaskPlan, outcome: Outcome, number: int, begins_at: float) -> TaskRun:
        inner = TaskPlan(f"{task.key}_iteration", definition=task.definition)
        ends_at = begins_at + outcome.seconds
        return TaskRun(self._new_id(), inner, number, False, begins_at, begins_at, ends_at, outcome)


def _may_run(task: TaskPlan, upstream: Collection[bool]) -> bool:
    if not upstream or task.run_if == "ALL_DONE":
        return True
    return any(upstream) if task.run_if == "AT_LEAST_ONE_SUCCESS" else all(upstream)


def _of_iterations(iterations: Collection[TaskRun]) -> Outcome:
    failed = sum(not each.outcome.succeeded for each in iterations)
    if not failed:
        return Outcome(seconds=0.0)
    message = f"{failed} of {len(iterations)} iterations failed."
    return Outcome("RUN_EXECUTION_ERROR", "CLIENT_ERROR", message, 0.0, error=message)
