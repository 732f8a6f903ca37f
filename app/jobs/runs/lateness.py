"""Jobs of which no run begins when one is due."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from app.jobs.runs.ended_runs import PolicyOfId
from app.jobs.runs.job_schedule import Occasion, PeriodicSchedule, Schedule, schedule_of
from app.jobs.runs.look import LateJob
from app.jobs.runs.run_summary import RunSummary
from app.jobs.runs.watch_state import MAX_SCHEDULES, JobsState, LateSince, ScheduleSeen
from app.jobs.runs.watched_jobs import WatchedJob

_EARLY_MS = 10_000
"""A run may begin this long before its time by the service's own clock."""


@dataclass(slots=True)
class Lateness:
    """`late` are new, `over` keys of those that are late no more. The mappings are by job id."""

    late: list[LateJob] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    since: dict[int, LateSince] = field(default_factory=dict)
    schedules: dict[int, ScheduleSeen] = field(default_factory=dict)


def late_jobs(
    jobs: Iterable[WatchedJob],
    runs: Mapping[int, Sequence[RunSummary]],
    state: JobsState,
    *,
    policy_of: PolicyOfId,
    from_ms: int,
    now_ms: int,
) -> Lateness:
    """`runs` are those that began since `from_ms`, by job id. A schedule that was changed is judged from then on."""
    found = Lateness()
    for job in jobs:
        max_late_minutes = policy_of(job.job_id).max_late_minutes
        if max_late_minutes is None:
            continue
        try:
            schedule = schedule_of(job.settings)
        except ValueError:
            found.notes.append(f"The schedule of job {job.job_id} cannot be read, so nobody is told when it is late.")
            continue
        runs_of_job = runs.get(job.job_id, ())
        seen = found.schedules[job.job_id] = _schedule_seen(job, runs_of_job, state, now_ms)
        if schedule is not None:
            due_by_ms = now_ms - int(max_late_minutes * 60_000)
            known = state.late.get(job.job_id)
            known = None if known is None or known.due_ms < seen.since_ms else known
            # An interval counts from the last run, however long ago that was.
            since_ms = 0 if isinstance(schedule, PeriodicSchedule) else max(from_ms, job.created_ms)
            after_ms = max(since_ms, seen.since_ms, seen.begun_ms + _EARLY_MS)
            due = _due(schedule, known, seen, after_ms, due_by_ms)
            if due is not None:
                late = _late_job(job, schedule, due, runs_of_job, now_ms)
                since = LateSince(int(late.due_at_seconds * 1000), late.kind == "never_started")
                found.since[job.job_id] = since
                found.late += [late] if since != known else []
    ended = state.late.keys() - found.since.keys()
    found.over += [_key(job_id, since.due_ms) for job_id, since in state.late.items() if job_id in ended]
    return found


def _due(
    schedule: Schedule, known: LateSince | None, seen: ScheduleSeen, after_ms: int, due_by_ms: int
) -> Occasion | None:
    """The first time of which no run has begun, where it is long enough ago."""
    if known is not None and known.due_ms > seen.begun_ms + _EARLY_MS:
        return Occasion(known.due_ms, known.due_ms)
    if not seen.begun_ms and isinstance(schedule, PeriodicSchedule):
        return None
    due = schedule.next_after(after_ms, due_by_ms)
    return due if due is not None and due.latest_ms <= due_by_ms else None


def _late_job(job: WatchedJob, schedule: Schedule, due: Occasion, runs: Sequence[RunSummary], now_ms: int) -> LateJob:
    following = schedule.next_after(due.earliest_ms, now_ms)
    queued = next((run.run_id for run in runs if not run.has_begun and not run.has_ended), 0)
    never_started = following is not None and following.latest_ms <= now_ms and not queued
    return LateJob(
        key=_key(job.job_id, due.earliest_ms),
        kind="never_started" if never_started else "late",
        job_id=job.job_id,
        job_name=job.name,
        due_at_seconds=due.earliest_ms / 1000,
        run_id=queued,
    )


def _schedule_seen(job: WatchedJob, runs: Sequence[RunSummary], state: JobsState, now_ms: int) -> ScheduleSeen:
    told = json.dumps([job.settings.get("schedule"), job.settings.get("trigger")], sort_keys=True, default=str)
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    before = state.schedules.get(job.job_id)
    begun = [run.started_ms for run in runs if run.has_begun and run.trigger != "RETRY"]
    begun_ms = max([before.begun_ms if before is not None else 0, *begun])
    if before is not None and before.digest == digest:
        return before._replace(begun_ms=begun_ms)
    # In a first look nothing is known to have changed, and of more jobs than are remembered never.
    is_unknown = before is None and (not state.schedules or len(state.schedules) >= MAX_SCHEDULES)
    return ScheduleSeen(digest, 0 if is_unknown else now_ms, begun_ms)


def _key(job_id: int, due_ms: int) -> str:
    return f"{job_id}-due-{due_ms}"
