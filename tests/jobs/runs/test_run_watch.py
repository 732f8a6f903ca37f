"""What a watch finds, over HTTP from the stand-in Jobs API, whose lists come in either order."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import WorkspaceUnavailableError
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.look import EndedRun, LongRun, Look
from app.jobs.runs.run_watch import RunWatch
from app.jobs.runs.watched_jobs import JobSelection
from app.local.job_plans import SUCCESS, Outcome, TaskPlan, failure, in_turn
from app.storage.documents import DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.job_service import JobService
from tests.fakes.workspaces import workspace_at

HOUR = 3600.0
BROKEN = failure("ValueError: bad row")
FAILS = TaskPlan("load", in_turn(BROKEN))
WORKS = TaskPlan("load")


@pytest.fixture(params=["newest first", "oldest first"])
def jobs(request: pytest.FixtureRequest, jobs: JobService) -> JobService:
    jobs.stand_in.order = request.param
    return jobs


@pytest.fixture
async def documents(tmp_path: Path, jobs: JobService) -> AsyncIterator[DocumentStore]:
    store = SqliteStore(tmp_path / "agent.sqlite", clock=lambda: jobs.now)
    yield store.documents()
    await store.close()


def watch_of(
    jobs: JobService, documents: DocumentStore | None = None, selection: JobSelection | None = None, **policy: Any
) -> RunWatch:
    return RunWatch(
        jobs.api,
        documents,
        workspace="main",
        jobs=selection,
        policy_of=lambda *_: JobPolicy(**policy),
        clock=lambda: jobs.now,
    )


async def pass_of(watch: RunWatch) -> Look:
    look = await watch.look()
    await watch.save(look)
    return look


def ids(runs: tuple[EndedRun, ...]) -> list[int]:
    return [run.run_id for run in runs]


async def test_a_failed_run_is_found_once_and_says_what_is_known_of_it(jobs: JobService) -> None:
    watch = watch_of(jobs)
    run_id = jobs.run(FAILS)
    jobs.run(WORKS, name="other")
    (found,) = (await pass_of(watch)).failed
    assert (found.run_id, found.job_name, found.termination_code) == (run_id, "nightly_etl", "RUN_EXECUTION_ERROR")
    assert (found.key, found.newer_run, found.failures_in_a_row) == (
        f"{run_id}-{found.ended_at_seconds * 1000:.0f}",
        "",
        1,
    )
    assert found.ended_at_seconds - found.started_at_seconds == 65
    assert (await pass_of(watch)).failed == ()


async def test_a_first_look_sees_24_hours_by_the_end_of_a_run(jobs: JobService) -> None:
    long, start = TaskPlan("load", in_turn(replace(BROKEN, seconds=12 * HOUR))), jobs.now
    jobs.run(FAILS, name="too old")
    run_id = jobs.run(long, name="ends within a day")
    jobs.now = start + 25 * HOUR
    assert ids((await watch_of(jobs).look()).failed) == [run_id]


async def test_a_look_that_was_not_saved_finds_the_same_again(jobs: JobService, documents: DocumentStore) -> None:
    first = jobs.run(FAILS)
    killed = await watch_of(jobs, documents).look()
    second = jobs.run(FAILS, name="another")
    watch = watch_of(jobs, documents)
    look = await watch.look()
    assert [run.key for run in look.failed][:1] == [run.key for run in killed.failed]
    assert ids(look.failed) == [first, second]
    await watch.save(look)
    assert (await watch_of(jobs, documents).look()).failed == ()


async def test_a_run_of_three_days_that_fails_is_found_among_thousands_of_hours(jobs: JobService) -> None:
    watch = watch_of(jobs)
    run_id = jobs.run(TaskPlan("load", in_turn(replace(BROKEN, seconds=72 * HOUR))))
    for _ in range(9):
        assert (await pass_of(watch)).failed == ()
        jobs.now += 8 * HOUR
    assert ids((await pass_of(watch)).failed) == [run_id]
    assert (await pass_of(watch)).failed == ()


@pytest.mark.parametrize("hours_until_repair", [0.5, 40])
async def test_a_repair_that_fails_is_found_though_the_run_keeps_its_start(
    jobs: JobService, hours_until_repair: float
) -> None:
    watch = watch_of(jobs)
    run_id = jobs.run(TaskPlan("load", in_turn(BROKEN, replace(BROKEN, seconds=2 * HOUR))))
    (first,) = (await pass_of(watch)).failed
    jobs.now += hours_until_repair * HOUR
    await jobs.api.repair_run(run_id)
    jobs.now += HOUR
    assert (await pass_of(watch)).failed == ()
    jobs.now += 2 * HOUR
    (second,) = (await pass_of(watch)).failed
    assert (second.run_id, second.started_at_seconds) == (first.run_id, first.started_at_seconds)
    assert second.key != first.key
    assert second.failures_in_a_row == 1


async def test_a_repair_that_began_and_ended_between_two_looks_is_found(jobs: JobService) -> None:
    watch = watch_of(jobs)
    failing, healing = jobs.run(FAILS), jobs.run(TaskPlan("load", in_turn(BROKEN, SUCCESS)), name="healing")
    await pass_of(watch)
    jobs.now += 20 * HOUR
    for run_id in (failing, healing):
        await jobs.api.repair_run(run_id)
    jobs.now += HOUR
    look = await pass_of(watch)
    assert (ids(look.failed), ids(look.healed)) == ([failing], [healing])


async def test_nothing_is_said_before_the_last_attempt_of_a_job(jobs: JobService) -> None:
    watch = watch_of(jobs)
    job = jobs.add(FAILS, max_retries=2, retry_pause_seconds=300)
    first = jobs.store.start(job)
    found: list[int] = []
    for _ in range(40):
        jobs.now += 60
        found += ids((await pass_of(watch)).failed)
    (last,) = found
    assert jobs.store.run(last).attempt_number == 2
    assert jobs.store.run(last).original_attempt_run_id == first.run_id


async def test_nothing_is_said_of_a_run_that_a_retry_healed(jobs: JobService) -> None:
    watch = watch_of(jobs)
    jobs.store.start(jobs.add(TaskPlan("load", in_turn(BROKEN, SUCCESS)), max_retries=1, retry_pause_seconds=120))
    looks = []
    for _ in range(20):
        jobs.now += 60
        looks.append(await pass_of(watch))
    assert not any(look.failed or look.healed for look in looks)


async def test_a_retry_that_never_comes_makes_the_failed_attempt_the_last(jobs: JobService) -> None:
    watch = watch_of(jobs)
    job = jobs.add(FAILS, max_retries=1, retry_pause_seconds=5 * HOUR)
    run_id = jobs.store.start(job).run_id
    for number in range(4):
        jobs.run(WORKS, name=f"job {number}")
        assert (await pass_of(watch)).failed == ()
    jobs.store.delete(job)
    assert ids((await pass_of(watch)).failed) == [run_id]
    assert (await pass_of(watch)).failed == ()


async def test_a_retry_that_is_late_by_more_than_its_grace_is_waited_for_no_longer(jobs: JobService) -> None:
    watch = watch_of(jobs)
    settings = {"max_retries": 1, "min_retry_interval_millis": 60_000}
    run_id = jobs.store.start(jobs.add(FAILS, settings=settings)).run_id
    jobs.now += 600
    assert (await pass_of(watch)).failed == ()
    jobs.now += 3600
    assert ids((await pass_of(watch)).failed) == [run_id]


async def test_a_task_that_waits_for_its_retry_is_no_failed_run(jobs: JobService) -> None:
    watch = watch_of(jobs)
    task = TaskPlan("load", in_turn(BROKEN), max_retries=1, retry_pause_seconds=HOUR)
    run_id = jobs.store.start(jobs.add(task)).run_id
    jobs.now += 600
    assert (await pass_of(watch)).failed == ()
    jobs.now += 2 * HOUR
    assert ids((await pass_of(watch)).failed) == [run_id]


async def test_what_succeeded_with_failures_is_told_apart_once(jobs: JobService) -> None:
    watch = watch_of(jobs)
    run_id = jobs.run(FAILS, TaskPlan("clean_up", depends_on=("load",), run_if="ALL_DONE"))
    look = await pass_of(watch)
    assert (ids(look.with_failures), look.failed) == ([run_id], ())
    assert (await pass_of(watch)).with_failures == ()


@pytest.mark.parametrize(
    ("later", "expected"), [(SUCCESS, "green"), (BROKEN, "failed"), (replace(SUCCESS, seconds=9 * HOUR), "active")]
)
async def test_a_failed_run_says_what_became_of_newer_ones(jobs: JobService, later: Outcome, expected: str) -> None:
    def nth(attempt: Any) -> Outcome:
        return BROKEN if jobs.now < began + 1 else later

    began = jobs.now
    job = jobs.add(TaskPlan("load", nth))
    first = jobs.store.start(job).run_id
    jobs.now += 600
    jobs.store.start(job)
    jobs.now += 600
    found = (await watch_of(jobs).look()).failed
    assert {run.run_id: run.newer_run for run in found}[first] == expected


async def test_an_old_run_that_fails_says_what_became_of_runs_that_are_as_old(jobs: JobService) -> None:
    outcomes = iter([replace(BROKEN, seconds=72 * HOUR), SUCCESS])
    job = jobs.add(TaskPlan("load", lambda _: next(outcomes)), max_concurrent_runs=2)
    watch, old = watch_of(jobs), jobs.store.start(job).run_id
    for number, hours in enumerate((30, 10, 10, 10, 10)):
        jobs.now += hours * HOUR
        if number == 0:
            jobs.store.start(job)
        jobs.run(WORKS, name=f"other {number}")
        look = await pass_of(watch)
    assert [(run.run_id, run.newer_run) for run in look.failed] == [(old, "green")]


async def test_nobody_is_told_before_n_failures_in_a_row(jobs: JobService) -> None:
    watch = watch_of(jobs, failures_in_a_row=3)
    outcomes = iter([BROKEN, BROKEN, SUCCESS, BROKEN, BROKEN, BROKEN, BROKEN, SUCCESS])
    job = jobs.add(TaskPlan("load", lambda _: next(outcomes)))
    told, healed = [], []
    for number in range(8):
        jobs.store.start(job)
        jobs.now += HOUR
        if number == 4:
            jobs.store.cancel(jobs.store.start(jobs.add(WORKS, name="canceled")).run_id)
        look = await pass_of(watch)
        told += [(number, run.failures_in_a_row) for run in look.failed if run.job_id == job]
        healed += [number for _ in look.healed]
    assert told == [(5, 3), (6, 4)]
    assert healed == [2, 7]


async def test_the_same_failures_are_counted_where_one_look_sees_them_all(jobs: JobService) -> None:
    outcomes = iter([BROKEN, SUCCESS, BROKEN, BROKEN])
    job = jobs.add(TaskPlan("load", lambda _: next(outcomes)))
    for _ in range(4):
        jobs.store.start(job)
        jobs.now += HOUR
    assert [run.failures_in_a_row for run in (await watch_of(jobs).look()).failed] == [1, 1, 2]


async def test_the_failure_of_a_nested_run_is_told_with_the_run_that_began_it(jobs: JobService) -> None:
    child = jobs.add(FAILS, name="child")
    parent = jobs.run(TaskPlan("run child", job_id=child))
    assert ids((await watch_of(jobs).look()).failed) == [parent]
    (alone,) = (await watch_of(jobs, selection=JobSelection(ids=(child,))).look()).failed
    assert alone.job_id == child
    both = JobSelection(ids=(child, jobs.store.run(parent).job_id))
    assert ids((await watch_of(jobs, selection=both).look()).failed) == [parent]


async def test_clocks_that_differ_by_hours_lose_no_failure_and_tell_none_twice(jobs: JobService) -> None:
    for skew in (-3 * HOUR, 3 * HOUR):
        watch = RunWatch(jobs.api, None, workspace="main", clock=lambda skew=skew: jobs.now + skew)  # type: ignore[misc]
        await pass_of(watch)
        told, expected = [], []
        for number in range(6):
            expected.append(jobs.run(FAILS, name=f"job {number}"))
            told += ids((await pass_of(watch)).failed)
        assert told == expected


async def test_a_watch_that_was_away_for_two_days_sees_what_failed_meanwhile(jobs: JobService) -> None:
    watch = watch_of(jobs)
    jobs.run(WORKS, name="before")
    await pass_of(watch)
    jobs.now += 2 * HOUR
    run_id = jobs.run(FAILS)
    jobs.now += 48 * HOUR
    assert ids((await pass_of(watch)).failed) == [run_id]


async def test_two_watches_that_look_at_once_remember_what_either_has_handled(
    jobs: JobService, documents: DocumentStore
) -> None:
    one, other = watch_of(jobs, documents), watch_of(jobs, documents)
    first = jobs.run(FAILS, name="first")
    early = await one.look()
    second = jobs.run(FAILS, name="second")
    late = await other.look()
    assert (ids(early.failed), ids(late.failed)) == ([first], [first, second])
    await other.save(late)
    await one.save(early)
    assert (await one.look()).failed == ()


async def test_a_job_that_is_gone_or_may_not_be_seen_is_a_sentence(jobs: JobService) -> None:
    run_id = jobs.run(FAILS)
    hidden = jobs.add(FAILS, name="hidden", is_hidden=True)
    selection = JobSelection(ids=(jobs.store.run(run_id).job_id, 5, hidden))
    watch = watch_of(jobs, selection=selection)
    look = await pass_of(watch)
    assert ids(look.failed) == [run_id]
    assert look.notes == (
        "Job 5 was not found: it was deleted, or this identity may not see it.",
        f"Job {hidden} may not be seen by this identity: it needs the permission CAN VIEW.",
    )
    jobs.store.delete(selection.ids[0])
    assert len((await pass_of(watch)).notes) == 3


async def test_runs_of_a_job_that_was_deleted_meanwhile_are_still_found(jobs: JobService) -> None:
    run_id = jobs.run(FAILS)
    jobs.store.delete(jobs.store.run(run_id).job_id)
    assert ids((await watch_of(jobs).look()).failed) == [run_id]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (JobSelection(), ["nightly_etl", "NIGHTLY [x]", "report"]),
        (JobSelection(name_pattern="nightly*"), ["nightly_etl", "NIGHTLY [x]"]),
        (JobSelection(name_pattern="nightly"), []),
        (JobSelection(name_pattern="nightly [x]"), ["NIGHTLY [x]"]),
        (JobSelection(tag="team"), ["nightly_etl", "report"]),
        (JobSelection(tag="team=data"), ["report"]),
        (JobSelection(tag="team=data", name_pattern="*[x]"), ["NIGHTLY [x]", "report"]),
    ],
)
async def test_jobs_are_watched_by_name_or_tag(jobs: JobService, selection: JobSelection, expected: list[str]) -> None:
    jobs.run(FAILS, tags={"team": "web"})
    jobs.run(FAILS, name="NIGHTLY [x]")
    jobs.run(FAILS, name="report", tags={"team": "data"})
    look = await watch_of(jobs, selection=selection).look()
    assert [run.job_name for run in look.failed] == expected
    assert look.notes == (() if expected else ("No job has the name or the tag that is watched.",))


async def test_more_than_ten_jobs_are_found_in_the_lists_of_the_workspace(jobs: JobService) -> None:
    runs = [jobs.run(FAILS, name=f"job {number}") for number in range(12)]
    jobs.run(FAILS, name="not watched")
    watched = tuple(jobs.store.run(run_id).job_id for run_id in runs)
    look = await watch_of(jobs, selection=JobSelection(ids=(*watched, 5))).look()
    assert (ids(look.failed), len(look.notes)) == (runs, 1)
    assert jobs.stand_in.calls["get"] == 0


async def test_a_workspace_that_cannot_be_read_is_an_error_and_loses_nothing(jobs: JobService) -> None:
    watch, run_id = watch_of(jobs), jobs.run(FAILS)
    jobs.stand_in.faults["runs/list"].extend(["unavailable"] * 200)
    with pytest.raises(WorkspaceUnavailableError):
        await watch.look()
    jobs.stand_in.faults.clear()
    assert ids((await watch.look()).failed) == [run_id]


async def test_a_job_that_does_not_begin_is_late_then_never_started_then_over(
    jobs: JobService, documents: DocumentStore
) -> None:
    jobs.now = datetime(2026, 11, 27, 3, 20, tzinfo=UTC).timestamp()
    schedule = {"quartz_cron_expression": "0 0 3 * * ?", "timezone_id": "Europe/London", "pause_status": "UNPAUSED"}
    job = jobs.add(WORKS, settings={"schedule": schedule})
    jobs.store.created_at[job] -= 48 * HOUR
    kinds, keys = [], set()
    for _ in range(30):
        # A new process each time.
        look = await pass_of(watch_of(jobs, documents, max_late_minutes=30))
        kinds += [(late.kind, datetime.fromtimestamp(jobs.now, UTC).hour) for late in look.late]
        keys |= {late.key for late in look.late}
        assert look.over == ()
        jobs.now += HOUR
    # The first look is at 03:20: not late yet for today, and nobody came yesterday.
    assert kinds == [("never_started", 3)]
    jobs.store.start(job, trigger="PERIODIC")
    assert (await pass_of(watch_of(jobs, documents, max_late_minutes=30))).over == tuple(keys)


@pytest.mark.parametrize(
    ("policy", "settings", "source"),
    [
        ({"max_minutes": 30}, {}, "policy"),
        ({}, {"health": {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 1800}]}}, "job"),
        ({}, {}, "history"),
    ],
)
async def test_a_run_that_goes_on_for_too_long_is_told_once_until_it_ends(
    jobs: JobService, documents: DocumentStore, policy: Any, settings: Any, source: str
) -> None:
    durations = iter([600, 610, 590, 605, 600, 20_000])
    job = jobs.add(TaskPlan("load", lambda _: replace(SUCCESS, seconds=next(durations))), settings=settings)
    for _ in range(5):
        jobs.store.start(job)
        jobs.now += HOUR
        assert (await pass_of(watch_of(jobs, documents, **policy))).too_long == ()
    run_id = jobs.store.start(job).run_id
    told: list[LongRun] = []
    for _ in range(6):
        jobs.now += 1200
        told += (await pass_of(watch_of(jobs, documents, **policy))).too_long
    (long,) = told
    assert (long.run_id, long.source, long.running_seconds) == (run_id, source, 2400)
    assert long.expected_seconds < 2400
    jobs.now += 20_000
    look = await pass_of(watch_of(jobs, documents, **policy))
    assert (look.over, look.too_long) == ((long.key,), ())


async def test_the_time_of_a_repair_counts_from_its_beginning(jobs: JobService) -> None:
    watch = watch_of(jobs, max_minutes=30)
    run_id = jobs.run(TaskPlan("load", in_turn(BROKEN, replace(SUCCESS, seconds=2 * HOUR))))
    await pass_of(watch)
    jobs.now += 5 * HOUR
    await jobs.api.repair_run(run_id)
    repaired_at = jobs.now
    jobs.now += 600
    assert (await pass_of(watch)).too_long == ()
    jobs.now += 1800
    (long,) = (await pass_of(watch)).too_long
    assert (long.run_id, long.started_at_seconds, long.running_seconds) == (run_id, repaired_at, 2400)


async def test_a_continuous_job_has_no_usual_duration(jobs: JobService) -> None:
    durations = iter([60] * 5 + [50 * HOUR] * 9)
    job = jobs.add(TaskPlan("load", lambda _: replace(SUCCESS, seconds=next(durations))), is_continuous=True)
    jobs.store.start(job, trigger="CONTINUOUS")
    watch = watch_of(jobs)
    for _ in range(20):
        jobs.now += 2 * HOUR
        assert (await pass_of(watch)).too_long == ()


async def test_a_run_that_a_notification_names_is_found_at_once_and_once(
    jobs: JobService, documents: DocumentStore
) -> None:
    watch = watch_of(jobs, documents, JobSelection(name_pattern="nightly*"))
    await pass_of(watch)
    other, not_watched, run_id = jobs.run(FAILS), jobs.run(FAILS, name="hourly"), jobs.run(FAILS)
    jobs.store.start(jobs.store.run(run_id).job_id)
    jobs.stand_in.calls.clear()
    look = await watch.look_at(run_id)
    assert [(run.run_id, run.newer_run) for run in look.failed] == [(run_id, "active")]
    assert jobs.stand_in.calls == {"runs/get": 1, "get": 1, "runs/list": 1}
    assert (await watch.look_at(run_id)).failed == look.failed
    await watch.save(look)
    for nothing in (run_id, not_watched, 5):
        assert (await watch.look_at(nothing)).failed == ()
    assert ids((await pass_of(watch)).failed) == [other]


async def test_a_notification_of_a_run_that_goes_on_will_be_retried_or_is_nested_says_nothing(jobs: JobService) -> None:
    watch = watch_of(jobs)
    active = jobs.store.start(jobs.add(TaskPlan("load", in_turn(replace(BROKEN, seconds=HOUR))))).run_id
    retried = jobs.store.start(jobs.add(FAILS, max_retries=1, retry_pause_seconds=HOUR)).run_id
    child = jobs.add(FAILS, name="child")
    jobs.store.start(jobs.add(TaskPlan("run child", job_id=child), name="parent"))
    jobs.now += 600
    nested = next(jobs.store.runs_by_start(job_id=child)).run_id
    for run_id in (active, retried, nested):
        look = await watch.look_at(run_id)
        assert (look.failed, look.healed) == ((), ())
        await watch.save(look)
    jobs.now += 3 * HOUR
    assert sorted(run.job_name for run in (await watch.look()).failed) == ["nightly_etl", "nightly_etl", "parent"]


async def test_a_notification_of_a_success_heals_what_had_failed(jobs: JobService) -> None:
    outcomes = iter([BROKEN, SUCCESS])
    job = jobs.add(TaskPlan("load", lambda _: next(outcomes)))
    jobs.store.start(job)
    jobs.now += HOUR
    watch = watch_of(jobs)
    await pass_of(watch)
    run_id = jobs.store.start(job).run_id
    jobs.now += HOUR
    look = await watch.look_at(run_id)
    assert ids(look.healed) == [run_id]
    await watch.save(look)
    assert (await watch.look()).healed == ()


async def test_a_run_that_was_submitted_counts_where_every_job_is_watched(jobs: JobService) -> None:
    run_id = jobs.run(FAILS, is_one_time=True)
    watched = jobs.add(FAILS, name="other")
    (found,) = (await watch_of(jobs).look()).failed
    assert (found.run_id, found.run_type) == (run_id, "SUBMIT_RUN")
    assert (await watch_of(jobs, selection=JobSelection(ids=(watched,))).look()).failed == ()


class NotebookRuns(JobsApi):
    """Every run was begun by a notebook."""

    async def runs(self, **query: Any) -> AsyncGenerator[Mapping[str, Any], None]:
        async for run in super().runs(**query):
            yield {**run, "run_type": "WORKFLOW_RUN"}


async def test_a_run_that_a_notebook_began_is_an_error_of_that_notebook(jobs: JobService) -> None:
    jobs.run(FAILS)
    async with workspace_at(jobs.url) as workspace:
        watch = RunWatch(NotebookRuns(workspace), None, workspace="main", clock=lambda: jobs.now)
        assert (await watch.look()).failed == ()


def add_runs(jobs: JobService, *, of_jobs: int, each: int, seconds_between: float, task: TaskPlan = WORKS) -> None:
    """They began in the hours before now, and have ended."""
    for job in range(of_jobs):
        job_id = jobs.add(task, name=f"job {job}", max_concurrent_runs=1000)
        for run in range(each):
            jobs.store.start(job_id, at=jobs.now - 3 * HOUR + (run * of_jobs + job) * seconds_between)


async def test_the_calls_are_the_pages_of_two_lists(jobs: JobService) -> None:
    watch = watch_of(jobs)
    add_runs(jobs, of_jobs=60, each=10, seconds_between=10)
    await pass_of(watch)
    jobs.stand_in.calls.clear()
    look = await pass_of(watch)
    assert look.runs_listed == 600
    # 25 pages of runs, in ranges whose last pages are not full, and the active runs that are older.
    assert 25 + 1 < jobs.stand_in.calls.pop("runs/list") <= 25 + 12
    assert jobs.stand_in.calls == {"list": 1}


async def test_a_burst_of_runs_in_a_few_minutes_is_listed_whole(jobs: JobService) -> None:
    add_runs(jobs, of_jobs=65, each=20, seconds_between=0.2, task=FAILS)
    look = await watch_of(jobs).look()
    assert len({run.run_id for run in look.failed}) == len(look.failed) == 1_300
