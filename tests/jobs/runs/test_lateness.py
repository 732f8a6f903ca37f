"""Who is late, judged against schedulers that fire, skip and delay as real ones do while clocks change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.job_policy import JobPolicy
from app.jobs.runs.job_schedule import schedule_of
from app.jobs.runs.lateness import Lateness, late_jobs
from app.jobs.runs.run_summary import RunSummary, run_summary
from app.jobs.runs.watch_state import JobsState, ScheduleSeen
from app.jobs.runs.watched_jobs import WatchedJob

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
JOB = 7


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def cron(expression: str, zone: str = "UTC", **more: Any) -> dict[str, Any]:
    return {"schedule": {"quartz_cron_expression": expression, "timezone_id": zone, **more}}


def run(started: str | int, *, state: str = "TERMINATED", trigger: str = "PERIODIC", run_id: int = 1) -> RunSummary:
    started_ms = ms(started) if isinstance(started, str) else started
    status = {"state": state, "termination_details": {"code": "SUCCESS"}}
    return run_summary(
        {"run_id": run_id, "job_id": JOB, "start_time": started_ms, "trigger": trigger, "status": status}
    )


@dataclass(slots=True)
class Watch:
    """Looks at one job, and remembers as the real one does."""

    settings: Mapping[str, Any]
    max_late_minutes: float | None = 30.0
    created_ms: int = 0
    state: JobsState = field(default_factory=JobsState)

    def look(self, now: str | int, runs: Iterable[RunSummary] = (), hours: int = 25) -> Lateness:
        now_ms = ms(now) if isinstance(now, str) else now
        job = WatchedJob(JOB, "nightly", self.settings, self.created_ms)
        found = late_jobs(
            [job],
            {JOB: list(runs)},
            self.state,
            policy_of=lambda _: JobPolicy(max_late_minutes=self.max_late_minutes),
            from_ms=now_ms - hours * HOUR_MS,
            now_ms=now_ms,
        )
        self.state = JobsState(late=found.since, schedules=found.schedules)
        return found

    def kinds(self, now: str | int, *runs: RunSummary) -> list[str]:
        return [late.kind for late in self.look(now, runs).late]


DAILY = cron("0 0 3 * * ?")


def test_a_job_is_late_once_then_never_started_and_over_when_a_run_begins() -> None:
    watch = Watch(DAILY)
    before = run("2026-11-26T03:00:05Z")
    assert watch.kinds("2026-11-27T03:29:00Z", before) == []
    (late,) = watch.look("2026-11-27T03:30:00Z", [before]).late
    assert (late.kind, late.due_at_seconds * 1000, late.job_name) == ("late", ms("2026-11-27T03:00:00Z"), "nightly")
    assert watch.kinds("2026-11-27T09:00:00Z", before) == []
    (never,) = watch.look("2026-11-28T03:00:00Z", [before]).late
    assert (never.kind, never.key) == ("never_started", late.key)
    assert watch.kinds("2026-11-28T12:00:00Z") == []
    assert watch.look("2026-11-28T12:30:00Z", [run("2026-11-28T12:10:00Z")]).over == [late.key]
    assert watch.look("2026-11-28T13:00:00Z", [run("2026-11-28T12:10:00Z")]).over == []


def test_a_run_that_waits_in_the_queue_has_not_begun() -> None:
    watch = Watch(DAILY)
    queued = run("2026-11-27T03:00:00Z", state="QUEUED", run_id=5)
    (late,) = watch.look("2026-11-28T04:00:00Z", [queued]).late
    assert (late.kind, late.run_id) == ("late", 5)


def test_the_retry_of_an_earlier_run_is_no_run_of_today() -> None:
    assert Watch(DAILY).kinds("2026-11-27T04:00:00Z", run("2026-11-27T03:20:00Z", trigger="RETRY")) == ["late"]
    assert Watch(DAILY).kinds("2026-11-27T04:00:00Z", run("2026-11-27T03:20:00Z", trigger="ONE_TIME")) == []
    assert Watch(DAILY).kinds("2026-11-27T04:00:00Z", run("2026-11-27T02:59:58Z")) == []


@pytest.mark.parametrize(
    "job_settings",
    [
        {},
        {"schedule": None, "trigger": []},
        cron("0 0 3 * * ?", pause_status="PAUSED"),
        cron("0 0 3 * * ?", sql_condition={"query_id": "1"}),
        {"trigger": {"pause_status": "PAUSED", "periodic": {"interval": 1, "unit": "HOURS"}}},
        {"trigger": {"file_arrival": {"url": "s3://x"}}},
        {"trigger": {"periodic": {"interval": "1", "unit": "HOURS"}}},
        {"trigger": {"periodic": {"interval": 1, "unit": "FORTNIGHTS"}}},
    ],
)
def test_without_a_schedule_that_runs_nothing_is_late(job_settings: dict[str, Any]) -> None:
    found = Watch(job_settings).look("2026-11-27T12:00:00Z", [run("2026-11-26T12:00:00Z")])
    assert (found.late, found.notes) == ([], [])


def test_without_the_setting_nothing_is_late() -> None:
    assert Watch(DAILY, max_late_minutes=None).kinds("2026-11-27T12:00:00Z") == []


@pytest.mark.parametrize(
    "job_settings", [cron("0 0 3 * *"), cron("0 0 3 * * ?", "Moon/Tycho"), cron("0 0 3 * * ?", "../etc"), cron("", "")]
)
def test_a_schedule_that_cannot_be_read_is_a_sentence(job_settings: dict[str, Any]) -> None:
    found = Watch(job_settings).look("2026-11-27T12:00:00Z")
    assert found.notes == ["The schedule of job 7 cannot be read, so nobody is told when it is late."]


def test_a_schedule_that_was_changed_or_resumed_is_judged_from_then_on() -> None:
    watch = Watch(cron("0 0 3 * * ?", pause_status="PAUSED"))
    assert watch.kinds("2026-11-27T10:00:00Z") == []
    watch.settings = DAILY
    assert watch.kinds("2026-11-27T10:30:00Z") == []
    assert watch.kinds("2026-11-28T02:00:00Z") == []
    (late,) = watch.look("2026-11-28T03:30:00Z").late
    watch.settings = cron("0 0 5 * * ?")
    assert watch.look("2026-11-28T03:40:00Z").over == [late.key]
    assert watch.kinds("2026-11-28T05:30:00Z") == ["late"]
    assert Watch(DAILY, created_ms=ms("2026-11-27T03:10:00Z")).kinds("2026-11-27T12:00:00Z") == []


def test_of_more_jobs_than_are_remembered_the_others_are_judged_too() -> None:
    seen = {number: ScheduleSeen("f" * 12, 0) for number in range(1_000, 1_800)}
    watch = Watch(DAILY, state=JobsState(schedules=seen))
    assert watch.kinds("2026-11-27T12:00:00Z") == ["late"]
    watch = Watch(DAILY, state=JobsState(schedules=dict(list(seen.items())[:5])))
    assert watch.kinds("2026-11-27T12:00:00Z") == []


def test_a_simple_schedule_counts_from_the_last_run() -> None:
    watch = Watch({"trigger": {"pause_status": "UNPAUSED", "periodic": {"interval": 2, "unit": "HOURS"}}})
    last = run("2026-11-27T10:00:00Z")
    assert watch.kinds("2026-11-27T12:29:00Z", last) == []
    assert watch.kinds("2026-11-27T12:31:00Z", last) == ["late"]
    assert watch.kinds("2026-11-27T14:31:00Z", last) == ["never_started"]
    assert Watch(watch.settings).kinds("2026-11-27T12:31:00Z") == []


def test_a_simple_schedule_of_a_week_counts_from_a_run_that_lists_show_no_more() -> None:
    watch = Watch({"trigger": {"periodic": {"interval": 1, "unit": "WEEKS"}}})
    assert watch.kinds("2026-11-20T10:30:00Z", run("2026-11-20T10:00:00Z")) == []
    assert watch.kinds("2026-11-25T10:30:00Z") == []
    assert watch.kinds("2026-11-27T10:29:00Z") == []
    assert watch.kinds("2026-11-27T10:31:00Z") == ["late"]
    assert watch.kinds("2026-11-28T10:31:00Z") == []
    assert watch.look("2026-11-28T12:31:00Z", [run("2026-11-28T12:00:00Z")]).over != []


@pytest.mark.parametrize(
    ("expression", "zone", "moment", "expected"),
    [
        ("0 30 2 * * ?", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z"),
        ("0 30 2 * * ?", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("0 0 3 * * ?", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("0 0 0 * * ?", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-24T21:00:00Z"),
        ("0 0/15 * * * ?", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-25T02:00:00Z"),
        ("0 0 3 * * ?", "GMT+2", "2026-11-27T00:30:00Z", "2026-11-27T01:00:00Z"),
        ("0 0 3 * * ?", "UTC-03:30", "2026-11-27T00:30:00Z", "2026-11-27T06:30:00Z"),
        ("0 0 3 * * ?", "US/Pacific", "2026-11-27T00:30:00Z", "2026-11-27T11:00:00Z"),
    ],
)
def test_a_job_is_due_by_the_clock_of_its_zone(expression: str, zone: str, moment: str, expected: str) -> None:
    schedule = schedule_of(cron(expression, zone))
    assert schedule is not None
    due = schedule.next_after(ms(moment), ms(moment) + 72 * HOUR_MS)
    assert due is not None
    assert datetime.fromtimestamp(due.earliest_ms / 1000, UTC) == datetime.fromisoformat(expected)


CHANGES = [
    ("Europe/Berlin", "2026-03-29T01:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00Z"),
    ("America/New_York", "2026-03-08T07:00Z"),
    ("America/New_York", "2026-11-01T06:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00Z"),
    ("Africa/Cairo", "2026-10-29T21:00Z"),
    ("America/Santiago", "2026-09-06T04:00Z"),
    ("Asia/Kolkata", "2026-11-27T12:00Z"),
]
HOURS = ["*", "2", "0", "1-3", "0/2", "*/6", "23", "3"]
MINUTES = ["0", "30", "59", "0/15"]


def matching(part: str, last: int) -> set[int]:
    if part == "*":
        return set(range(last + 1))
    if "/" in part:
        start, step = part.split("/")
        return set(range(0 if start == "*" else int(start), last + 1, int(step)))
    start, _, end = part.partition("-")
    return set(range(int(start), int(end or start) + 1))


def occasions(minute: str, hour: str, zone: str, around: datetime) -> dict[datetime, list[int]]:
    """By local time, when the clock of the zone showed it: read minute by minute for three days."""
    minutes, hours = matching(minute, 59), matching(hour, 23)
    found: dict[datetime, list[int]] = {}
    moment = around - timedelta(hours=36)
    while moment < around + timedelta(hours=36):
        local = moment.astimezone(ZoneInfo(zone))
        if local.minute in minutes and local.hour in hours:
            found.setdefault(local.replace(tzinfo=None, fold=0), []).append(int(moment.timestamp() * 1000))
        moment += timedelta(minutes=1)
    return found


def is_near_change(moment_ms: int, zone: str) -> bool:
    offsets = {
        datetime.fromtimestamp(moment_ms / 1000 + hours * 3600, ZoneInfo(zone)).utcoffset() for hours in (-2, 0, 2)
    }
    return len(offsets) > 1


@settings(max_examples=40)
@given(st.sampled_from(CHANGES), st.sampled_from(MINUTES), st.sampled_from(HOURS), st.data())
def test_a_scheduler_that_keeps_its_times_is_never_called_late(
    change: tuple[str, str], minute: str, hour: str, data: st.DataObject
) -> None:
    zone, around = change[0], datetime.fromisoformat(change[1])
    which = data.draw(st.sampled_from(["first", "second", "both"]), label="of a time that comes twice")
    delay_minutes = data.draw(st.integers(0, 29), label="delay")
    delay_near_change_minutes = data.draw(st.integers(0, 119), label="delay near the change")
    begun = []
    for times in occasions(minute, hour, zone, around).values():
        for moment in times[:1] if which == "first" else times[-1:] if which == "second" else times:
            delay = delay_minutes + delay_near_change_minutes * is_near_change(moment, zone)
            begun.append(run(moment + delay * MINUTE_MS))
    watch = Watch(cron(f"0 {minute} {hour} * * ?", zone))
    start, now = int(around.timestamp() * 1000) - 36 * HOUR_MS, int(around.timestamp() * 1000) - 12 * HOUR_MS
    while now < start + 72 * HOUR_MS:
        seen = [each for each in begun if each.started_ms <= now]
        assert watch.look(now, seen, hours=24).late == []
        now += 31 * MINUTE_MS


@settings(max_examples=40)
@given(st.sampled_from(CHANGES), st.sampled_from(MINUTES), st.sampled_from(HOURS), st.integers(-12, 12))
def test_a_scheduler_that_stops_is_called_late_when_its_first_missed_time_is(
    change: tuple[str, str], minute: str, hour: str, stops_after_hours: int
) -> None:
    zone, around = change[0], datetime.fromisoformat(change[1])
    stop = int(around.timestamp() * 1000) + stops_after_hours * HOUR_MS
    times_of = occasions(minute, hour, zone, around).values()
    begun = [run(moment) for moment in sorted(moment for times in times_of for moment in times) if moment <= stop]
    # What ran at the first of two equal times need not run again at the second.
    missed = sorted(moment for times in times_of if times[0] > stop for moment in times)
    watch = Watch(cron(f"0 {minute} {hour} * * ?", zone))
    assert watch.look(missed[0] + 29 * MINUTE_MS, begun).late == []
    grace = 0 if not any(is_near_change(each, zone) for each in missed[:8]) else 6 * HOUR_MS
    (late,) = watch.look(missed[0] + 30 * MINUTE_MS + grace, begun).late
    assert late.due_at_seconds * 1000 in missed
    if not grace:
        assert late.due_at_seconds * 1000 == missed[0]
