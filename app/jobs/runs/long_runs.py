"""Runs that go on for longer than a setting allows, or than the job's history lets expect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

from app.common.concurrency import gather_or_cancel
from app.common.json_values import count, items, mapping
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.ended_runs import PolicyOfId
from app.jobs.runs.look import LongRun
from app.jobs.runs.run_lists import RunLists
from app.jobs.runs.run_summary import RunSummary
from app.jobs.runs.watch_state import DurationsState, WatchState
from app.jobs.runs.watched_jobs import WatchedJob

_FEWEST_DURATIONS = 5
_TIMES_MEDIAN = 3.0
_TIMES_LONGEST = 1.5
_LEAST_SECONDS = 600.0
_MAX_SUSPECTS = 50
_CONTINUOUS = frozenset({"CONTINUOUS", "CONTINUOUS_RESTART"})


@dataclass(frozen=True, slots=True)
class ExpectedDuration:
    seconds: float
    source: Literal["policy", "job", "history"]


def expected_duration(
    run: RunSummary, job: WatchedJob | None, policy: JobPolicy, durations_seconds: Sequence[int]
) -> ExpectedDuration | None:
    """None where nothing says how long it may take: a continuous job has no usual end."""
    if policy.max_minutes is not None:
        return ExpectedDuration(policy.max_minutes * 60, "policy")
    rules = items(mapping(job.settings.get("health")).get("rules")) if job is not None else []
    limits = [count(each.get("value")) for each in map(mapping, rules) if each.get("metric") == "RUN_DURATION_SECONDS"]
    if limit := min((each for each in limits if each), default=0):
        return ExpectedDuration(float(limit), "job")
    if run.trigger in _CONTINUOUS or len(durations_seconds) < _FEWEST_DURATIONS:
        return None
    usual = max(_TIMES_MEDIAN * median(durations_seconds), _TIMES_LONGEST * max(durations_seconds), _LEAST_SECONDS)
    return ExpectedDuration(usual, "history")


@dataclass(slots=True)
class LongRuns:
    """`new` were not told before, `over` are the keys of those that were and have ended; `since`: by run id, when each
    of them began.
    """

    new: list[LongRun] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    since: dict[int, int] = field(default_factory=dict)


async def long_runs(
    runs: Iterable[RunSummary],
    jobs: Mapping[int, WatchedJob],
    state: WatchState,
    *,
    policy_of: PolicyOfId,
    lists: RunLists,
    now_ms: int,
) -> LongRuns:
    """A run that seems too long is read once, as it may have been repaired since it began. Raises WorkspaceError."""
    active = {run.run_id: run for run in runs if run.has_begun and not run.has_ended}
    found = LongRuns(since={run_id: began for run_id, began in state.jobs.long_runs.items() if run_id in active})
    found.over += [_key(run_id, began) for run_id, began in state.jobs.long_runs.items() if run_id not in active]
    suspects: list[tuple[RunSummary, ExpectedDuration]] = []
    for run in active.values():
        durations = state.durations.seconds.get(run.job_id, ())
        expected = expected_duration(run, jobs.get(run.job_id), policy_of(run.job_id), durations)
        if expected is not None and run.run_id not in found.since and _is_over(run, run.started_ms, expected, now_ms):
            suspects.append((run, expected))
    del suspects[_MAX_SUSPECTS:]
    began = await gather_or_cancel(lists.last_began_ms(run) for run, _ in suspects)
    for (run, expected), began_ms in zip(suspects, began, strict=True):
        if _is_over(run, began_ms, expected, now_ms):
            found.since[run.run_id] = began_ms
            found.new.append(_long_run(run, began_ms, expected, now_ms))
    return found


def _is_over(run: RunSummary, began_ms: int, expected: ExpectedDuration, now_ms: int) -> bool:
    return now_ms - began_ms - run.queued_ms > expected.seconds * 1000


def _long_run(run: RunSummary, began_ms: int, expected: ExpectedDuration, now_ms: int) -> LongRun:
    return LongRun(
        key=_key(run.run_id, began_ms),
        run_id=run.run_id,
        job_id=run.job_id,
        job_name=run.name,
        url=run.url,
        started_at_seconds=began_ms / 1000,
        running_seconds=(now_ms - began_ms - run.queued_ms) / 1000,
        expected_seconds=expected.seconds,
        source=expected.source,
    )


def _key(run_id: int, began_ms: int) -> str:
    return f"{run_id}-long-{began_ms}"


def durations_after(runs: Iterable[RunSummary], state: DurationsState) -> DurationsState:
    """With the successful runs that ended since `state`."""
    seconds, until_ms = dict(state.seconds), state.until_ms
    for run in sorted(runs, key=lambda each: each.ended_ms):
        if run.code == "SUCCESS" and run.ended_ms > state.until_ms:
            taken = max(1, (run.duration_ms or run.ended_ms - run.started_ms - run.queued_ms) // 1000)
            seconds[run.job_id] = (*seconds.pop(run.job_id, ()), taken)
            until_ms = run.ended_ms
    return DurationsState(until_ms=until_ms, seconds=seconds)
