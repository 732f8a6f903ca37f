"""Sorts the runs that ended since the last look: failed, healed, waiting for a retry, or evidence of another run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.common.json_values import count
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.look import EndedRun, ended_run
from app.jobs.runs.run_summary import RunSummary, newer_run
from app.jobs.runs.watch_state import FailureStreak, RunsState
from app.jobs.runs.watched_jobs import WatchedJob

PolicyOfId = Callable[[int], JobPolicy]

_RETRY_GRACE_MS = 10 * 60_000
"""For a retry to appear after its pause; without one by then, the failed attempt was the last."""
_UNLIMITED_RETRIES = -1


@dataclass(slots=True)
class SortedRuns:
    """`handled`: by run id, the end; `waiting`: ids of failed runs that the service is going to run again."""

    failed: list[EndedRun] = field(default_factory=list)
    with_failures: list[EndedRun] = field(default_factory=list)
    healed: list[EndedRun] = field(default_factory=list)
    handled: dict[int, int] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    streaks: dict[int, FailureStreak] = field(default_factory=dict)


def sorted_runs(
    by_job: Mapping[int, Sequence[RunSummary]],
    state: RunsState,
    *,
    jobs: Mapping[int, WatchedJob],
    policy_of: PolicyOfId,
    evidence_of_others: Collection[int],
    now_ms: int,
) -> SortedRuns:
    """`by_job` has all runs that were listed, in any order. `evidence_of_others`: ids of runs whose failure is told
    with the run that began them.
    """
    found = SortedRuns(streaks=dict(state.streaks))
    ended = sorted((run for each in by_job.values() for run in each if state.is_new(run)), key=_by_end)
    for run in ended:
        siblings = by_job[run.job_id]
        if run.succeeded:
            _add_success(found, run)
        elif _has_later_attempt(run, siblings):
            found.handled[run.run_id] = run.ended_ms
        elif (job := jobs.get(run.job_id)) is not None and may_be_retried(run, job.settings, now_ms):
            found.waiting.append(run.run_id)
        else:
            found.handled[run.run_id] = run.ended_ms
            if run.run_id not in evidence_of_others:
                _add_failure(found, run, siblings, policy_of(run.job_id))
    return found


def _add_success(found: SortedRuns, run: RunSummary) -> None:
    """A plain success is looked at again as long as lists show it, which changes nothing."""
    if run.code == "SUCCESS_WITH_FAILURES":
        found.handled[run.run_id] = run.ended_ms
        found.with_failures.append(ended_run(run))
    streak = found.streaks.get(run.job_id)
    if streak is not None and streak.ended_ms < run.ended_ms:
        del found.streaks[run.job_id]
        found.healed.append(ended_run(run))


def _add_failure(found: SortedRuns, run: RunSummary, siblings: Iterable[RunSummary], policy: JobPolicy) -> None:
    newer = newer_run(run, siblings)
    if not run.ran or run.code == "USER_CANCELED":
        found.failed.append(ended_run(run, newer=newer))
        return
    before = found.streaks.get(run.job_id, FailureStreak(0, 0, 0))
    failures = before.failures + (run.run_id != before.run_id)
    if run.ended_ms >= before.ended_ms:
        found.streaks[run.job_id] = FailureStreak(failures, run.ended_ms, run.run_id)
    if failures >= policy.failures_in_a_row:
        found.failed.append(ended_run(run, newer=newer, failures_in_a_row=failures))


def _has_later_attempt(run: RunSummary, siblings: Iterable[RunSummary]) -> bool:
    """What becomes of a later attempt decides, whether it has ended or not."""
    mine = (run.attempt_number, run.started_ms)
    return any(
        each.original_run_id == run.original_run_id
        and each.run_id != run.run_id
        and (each.attempt_number, each.started_ms) > mine
        for each in siblings
    )


def may_be_retried(run: RunSummary, settings: Mapping[str, Any], now_ms: int) -> bool:
    """Whether the job, whose settings these are, may still retry the failed run by itself."""
    if not run.ran or run.code == "USER_CANCELED":
        return False
    if run.code == "CANCELED" and not settings.get("retry_on_timeout"):
        return False
    most = settings.get("max_retries")
    if most != _UNLIMITED_RETRIES and run.attempt_number >= count(most):
        return False
    pause_ms = count(settings.get("min_retry_interval_millis"))
    return now_ms < run.ended_ms + pause_ms + _RETRY_GRACE_MS


def _by_end(run: RunSummary) -> tuple[int, int]:
    return run.ended_ms, run.run_id
