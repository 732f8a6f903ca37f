"""What one look at the watched jobs found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.jobs.runs.run_summary import NewerRun, RunSummary
from app.jobs.runs.watch_state import WatchState
from app.jobs.runs.watched_jobs import WatchedJob


@dataclass(frozen=True, slots=True)
class EndedRun:
    """`key` is the same for the same ended attempt in every pass and process, and another one after a repair. Times are
    in seconds since 1970. `failures_in_a_row` has this one; 0 for what says nothing about the job, such as a run that
    a person canceled, and for what succeeded.
    """

    key: str
    run_id: int
    job_id: int
    job_name: str
    url: str
    started_at_seconds: float
    ended_at_seconds: float
    termination_code: str
    run_type: str
    trigger: str
    newer_run: NewerRun = ""
    failures_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class LateJob:
    """A job of which no run has begun since it was due. `never_started`: the next time it was due has passed too; it is
    told with the same `key` as before. `run_id` is that of a run that waits in the queue, else 0.
    """

    key: str
    kind: Literal["late", "never_started"]
    job_id: int
    job_name: str
    due_at_seconds: float
    run_id: int = 0


@dataclass(frozen=True, slots=True)
class LongRun:
    """A run that goes on for longer than `expected_seconds`, which a setting says, or the job's history."""

    key: str
    run_id: int
    job_id: int
    job_name: str
    url: str
    started_at_seconds: float
    running_seconds: float
    expected_seconds: float
    source: Literal["policy", "job", "history"]


@dataclass(frozen=True, slots=True)
class Look:
    """`failed` are those that somebody is to be told of, earliest first. `with_failures` succeeded with failures, for
    the digest. `healed` are the first successes of jobs that had failed. `late` and `too_long` are new; `over` has the
    keys of those that were told and are so no more: a run has begun, or has ended. `notes` are sentences about what
    could not be watched. `jobs` are those that are watched, as they are set today. `state` is what the watch will
    remember.
    """

    failed: tuple[EndedRun, ...] = ()
    with_failures: tuple[EndedRun, ...] = ()
    healed: tuple[EndedRun, ...] = ()
    late: tuple[LateJob, ...] = ()
    too_long: tuple[LongRun, ...] = ()
    over: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    runs_listed: int = 0
    jobs: Mapping[int, WatchedJob] = field(default_factory=dict, repr=False)
    state: WatchState = field(default=WatchState(), repr=False)


def ended_run(run: RunSummary, *, newer: NewerRun = "", failures_in_a_row: int = 0) -> EndedRun:
    return EndedRun(
        key=run.key,
        run_id=run.run_id,
        job_id=run.job_id,
        job_name=run.name,
        url=run.url,
        started_at_seconds=run.started_ms / 1000,
        ended_at_seconds=run.ended_ms / 1000,
        termination_code=run.code,
        run_type=run.run_type,
        trigger=run.trigger,
        newer_run=newer,
        failures_in_a_row=failures_in_a_row,
    )
