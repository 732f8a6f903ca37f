"""The stand-in's Jobs API behaves as the real one does, seen through our client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from app.databricks.jobs_api import UnclearOutcomeError
from app.databricks.workspace_errors import (
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceRateLimitError,
    WorkspaceRequestError,
)
from app.local.job_plans import SUCCESS, Outcome, TaskPlan, cluster_failure, failure, in_turn
from app.local.job_store import LATEST_REPAIR_NEEDED
from app.local.jobs_stand_in import Fault
from app.local.sample_jobs import sample_jobs
from tests.fakes.job_service import job_service

BROKEN = failure("ValueError: bad row", "Traceback\nValueError: bad row")
LOAD = TaskPlan("load", in_turn(BROKEN, SUCCESS))
ALWAYS = TaskPlan("load", in_turn(BROKEN))
REPORT = TaskPlan("report", depends_on=("load",))


def code(run: Mapping[str, Any]) -> str:
    found: str = run["status"].get("termination_details", {}).get("code", run["status"]["state"])
    return found


async def test_a_run_goes_through_its_states_as_time_passes() -> None:
    async with job_service() as jobs:
        retried = TaskPlan("load", in_turn(BROKEN, SUCCESS), max_retries=1, retry_pause_seconds=30)
        run_id = jobs.store.start(jobs.add(retried, REPORT)).run_id
        seen: list[list[str]] = []
        for _ in range(24):
            run = await jobs.api.run(run_id)
            states = [
                code(run),
                *(f"{task['task_key']} {task['attempt_number']} {code(task)}" for task in run["tasks"]),
            ]
            seen += [states] if not seen or seen[-1] != states else []
            jobs.now += 10
    assert seen == [
        ["PENDING", "load 0 BLOCKED", "report 0 BLOCKED"],
        ["RUNNING", "load 0 RUNNING", "report 0 BLOCKED"],
        ["RUNNING", "load 0 RUN_EXECUTION_ERROR", "load 1 WAITING", "report 0 BLOCKED"],
        ["RUNNING", "load 0 RUN_EXECUTION_ERROR", "load 1 RUNNING", "report 0 BLOCKED"],
        ["RUNNING", "load 0 RUN_EXECUTION_ERROR", "load 1 SUCCESS", "report 0 RUNNING"],
        ["SUCCESS", "load 0 RUN_EXECUTION_ERROR", "load 1 SUCCESS", "report 0 SUCCESS"],
    ]


@pytest.mark.parametrize("order", ["newest first", "oldest first"])
async def test_every_run_is_listed_once_in_both_orders(order: Any) -> None:
    async with job_service() as jobs:
        jobs.stand_in.order = order
        job = jobs.add(ALWAYS, max_concurrent_runs=100)
        wanted = [jobs.store.start(job, at=jobs.now - 3600 + number).run_id for number in range(60)]
        wanted = wanted if order == "oldest first" else wanted[::-1]
        runs = [run async for run in jobs.api.runs(job_id=job, only="completed")]
        assert [run["run_id"] for run in runs] == wanted
        assert jobs.stand_in.calls["runs/list"] == 3
        assert not {"tasks", "repair_history"} & runs[0].keys()
        assert [run async for run in jobs.api.runs(only="active")] == []
        after = round((jobs.now - 3600 + 50) * 1000)
        assert len([run async for run in jobs.api.runs(start_time_from_ms=after)]) == 10


async def test_the_run_says_less_than_its_task_and_only_the_task_has_an_output() -> None:
    async with job_service() as jobs:
        run_id = jobs.run(ALWAYS, REPORT)
        run = await jobs.api.run(run_id)
        load, report = run["tasks"]
        assert [code(each) for each in (run, load, report)] == ["RUN_EXECUTION_ERROR", "RUN_EXECUTION_ERROR", "SKIPPED"]
        output = await jobs.api.output(load["run_id"])
        assert (output["error"], output["error_trace"]) == (BROKEN.error, BROKEN.trace)
        with pytest.raises(WorkspaceRequestError) as refused:
            await jobs.api.output(run_id)
    assert "multiple tasks is not supported" in refused.value.detail


async def test_a_repair_runs_what_failed_and_keeps_the_start_of_the_run() -> None:
    async with job_service() as jobs:
        first = TaskPlan("extract")
        run_id = jobs.run(first, TaskPlan("load", in_turn(BROKEN, SUCCESS), depends_on=("extract",)), REPORT)
        before = await jobs.api.run(run_id)
        repair_id = await jobs.api.repair_run(run_id)
        active = [run["run_id"] async for run in jobs.api.runs(only="active")]
        jobs.now += 3600
        run = await jobs.api.run(run_id)
    assert (active, code(run), run["start_time"]) == ([run_id], "SUCCESS", before["start_time"])
    assert run["end_time"] > before["end_time"]
    ran_again = [(task["task_key"], task["attempt_number"]) for task in run["tasks"][3:]]
    assert ran_again == [("load", 1), ("report", 1)]
    original, repair = run["repair_history"]
    assert (original["type"], "id" in original, code(original)) == ("ORIGINAL", False, "RUN_EXECUTION_ERROR")
    assert (repair["type"], repair["id"], code(repair)) == ("REPAIR", repair_id, "SUCCESS")
    assert repair["task_run_ids"] == [task["run_id"] for task in run["tasks"][3:]]


async def test_a_repair_needs_an_ended_run_and_the_latest_repair_id() -> None:
    async with job_service() as jobs:
        run_id = jobs.run(ALWAYS)
        first = await jobs.api.repair_run(run_id)
        with pytest.raises(WorkspaceRequestError, match="INVALID_PARAMETER_VALUE"):
            await jobs.api.repair_run(run_id, latest_repair_id=first)
        jobs.now += 3600
        for lock in (None, first + 1):
            with pytest.raises(WorkspaceRequestError) as refused:
                await jobs.api.repair_run(run_id, latest_repair_id=lock)
            assert refused.value.detail == LATEST_REPAIR_NEEDED
        both = (jobs.api.repair_run(run_id, latest_repair_id=first) for _ in range(2))
        answers = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["WorkspaceRequestError", "int"]
        assert len(jobs.stand_in.repairs) == 2


async def test_a_repair_loses_the_parameters_of_the_run_and_uses_the_job_of_today() -> None:
    async with job_service() as jobs:
        seen: list[str] = []

        def load(attempt: Any) -> Outcome:
            seen.append(attempt.parameters["batch"])
            return BROKEN

        job = jobs.add(TaskPlan("load", load), parameters={"batch": "1000"})
        run_id = await jobs.api.run_now(job, idempotency_token="t", job_parameters={"batch": "50"})
        jobs.now += 3600
        first = await jobs.api.repair_run(run_id)
        jobs.now += 3600
        second = await jobs.api.repair_run(run_id, job_parameters={"batch": "5"}, latest_repair_id=first)
        jobs.now += 3600
        told = (await jobs.api.run(run_id))["job_parameters"]
        jobs.store.delete(job)
        with pytest.raises(WorkspaceNotFoundError):
            await jobs.api.repair_run(run_id, latest_repair_id=second)
        assert code(await jobs.api.run(run_id)) == "RUN_EXECUTION_ERROR"
    assert seen == ["50", "1000", "5"]
    assert told == [{"name": "batch", "value": "5", "default": "1000"}]


UNCLEAR: list[Fault] = ["carried out, unavailable", "carried out, cut", "carried out, page"]


@pytest.mark.parametrize("fault", [*UNCLEAR, "unavailable"])
async def test_after_an_unclear_answer_the_run_itself_says_whether_the_repair_began(fault: Fault) -> None:
    async with job_service() as jobs:
        run_id = jobs.run(ALWAYS)
        jobs.stand_in.faults["runs/repair"].append(fault)
        with pytest.raises(UnclearOutcomeError):
            await jobs.api.repair_run(run_id)
        repairs = (await jobs.api.run(run_id))["repair_history"][1:]
    assert len(repairs) == jobs.stand_in.calls["runs/repair"] - (fault == "unavailable")
    assert jobs.stand_in.calls["runs/repair"] == 1


@pytest.mark.parametrize("fault", ["carried out, unavailable", "carried out, cut", "unavailable", "rate limited"])
async def test_a_repeated_run_now_begins_one_run(fault: Fault) -> None:
    async with job_service() as jobs:
        job = jobs.add(ALWAYS)
        jobs.stand_in.faults["run-now"].append(fault)
        run_id = await jobs.api.run_now(job, idempotency_token="once")
        jobs.now += 3600
        assert await jobs.api.run_now(job, idempotency_token="once") == run_id
        assert [run["run_id"] async for run in jobs.api.runs()] == [run_id]


async def test_a_call_that_is_always_limited_fails() -> None:
    async with job_service() as jobs:
        jobs.stand_in.faults["runs/list"].extend(["rate limited"] * 4)
        with pytest.raises(WorkspaceRateLimitError):
            _ = [run async for run in jobs.api.runs()]


async def test_the_retry_of_a_job_is_a_new_run() -> None:
    async with job_service() as jobs:
        first = jobs.run(LOAD, max_retries=2, retry_pause_seconds=60)
        runs = [run async for run in jobs.api.runs()]
    assert [(run["trigger"], run["attempt_number"], code(run)) for run in runs] == [
        ("RETRY", 1, "SUCCESS"),
        ("ONE_TIME", 0, "RUN_EXECUTION_ERROR"),
    ]
    assert [run["original_attempt_run_id"] for run in runs] == [first, first]


async def test_a_continuous_job_begins_anew_until_it_is_paused() -> None:
    async with job_service() as jobs:
        jobs.run(ALWAYS, is_continuous=True, retry_pause_seconds=535)
        runs = [run async for run in jobs.api.runs()]
        assert [run["trigger"] for run in runs] == [*["CONTINUOUS"] * 6, "ONE_TIME"]
        assert all(newer["start_time"] >= older["end_time"] > 0 for newer, older in pairwise(runs[1:]))
        settings = {"continuous": {"pause_status": "PAUSED"}}
        paused = jobs.add(ALWAYS, is_continuous=True, settings=settings)
        jobs.store.start(paused)
        jobs.now += 3600
        assert len([run async for run in jobs.api.runs(job_id=paused)]) == 1
        assert (await jobs.api.job(paused))["settings"]["continuous"]["pause_status"] == "PAUSED"


async def test_more_runs_than_allowed_at_once_wait_or_are_skipped() -> None:
    async with job_service() as jobs:
        for is_queued, expected in (
            (True, ["QUEUED", "RUNNING"]),
            (False, ["MAX_CONCURRENT_RUNS_EXCEEDED", "RUNNING"]),
        ):
            job = jobs.add(ALWAYS, is_queued=is_queued)
            jobs.store.start(job)
            jobs.now += 10
            jobs.store.start(job)
            assert [code(run) async for run in jobs.api.runs(job_id=job)] == expected
            jobs.now += 3600
            ended = [run["end_time"] - run["start_time"] async for run in jobs.api.runs(job_id=job)]
            assert ended == [120_000 if is_queued else 0, 65_000]


async def test_a_cancelled_run_ends_after_a_while_and_frees_the_queue() -> None:
    async with job_service() as jobs:
        long = TaskPlan("load", in_turn(Outcome(seconds=100_000)))
        job = jobs.add(long, REPORT)
        first = jobs.store.start(job).run_id
        second = jobs.store.start(job).run_id
        jobs.now += 60
        await jobs.api.cancel_run(first)
        jobs.now += 60
        run = await jobs.api.run(first)
        assert [code(each) for each in (run, *run["tasks"])] == ["USER_CANCELED"] * 3
        assert code(await jobs.api.run(second)) == "RUNNING"
        await jobs.api.cancel_run(first)


@pytest.mark.parametrize(("is_continuous", "triggers"), [(False, ["ONE_TIME"]), (True, ["CONTINUOUS", "ONE_TIME"])])
async def test_a_cancelled_run_is_not_retried_but_a_continuous_job_goes_on(
    is_continuous: bool, triggers: list[str]
) -> None:
    async with job_service() as jobs:
        long = TaskPlan("load", in_turn(Outcome(seconds=100_000)))
        job = jobs.add(long, max_retries=3, is_continuous=is_continuous)
        run_id = jobs.store.start(job).run_id
        jobs.now += 60
        await jobs.api.cancel_run(run_id)
        jobs.now += 3600
        assert [run["trigger"] async for run in jobs.api.runs()] == triggers


async def test_a_run_of_many_tasks_and_a_for_each_of_many_inputs_are_read_whole() -> None:
    async with job_service() as jobs:
        each = TaskPlan("each", iterations=tuple(in_turn(BROKEN if n == 150 else SUCCESS) for n in range(250)))
        run_id = jobs.run(each, *(TaskPlan(f"task_{number}") for number in range(120)))
        run = await jobs.api.run(run_id)
        assert (len(run["tasks"]), jobs.stand_in.calls["runs/get"]) == (121, 2)
        task = run["tasks"][0]
        assert task["for_each_task"]["stats"]["task_run_stats"]["failed_iterations"] == 1
        whole = await jobs.api.run(task["run_id"])
        assert (len(whole["iterations"]), len(whole["tasks"])) == (250, 1)
        failed = [iteration for iteration in whole["iterations"] if code(iteration) != "SUCCESS"]
        assert [(await jobs.api.output(one["run_id"]))["error"] for one in failed] == [BROKEN.error]
        assert len((await jobs.api.job(run["job_id"]))["settings"]["tasks"]) == 121


async def test_a_nested_job_is_a_run_of_its_own() -> None:
    async with job_service() as jobs:
        inner = jobs.add(ALWAYS, name="inner")
        run_id = jobs.run(TaskPlan("call", job_id=inner))
        task = (await jobs.api.run(run_id))["tasks"][0]
        child = (await jobs.api.output(task["run_id"]))["run_job_output"]["run_id"]
        nested = await jobs.api.run(child)
    assert (nested["job_id"], nested["trigger"], code(nested)) == (inner, "RUN_JOB_TASK", "RUN_EXECUTION_ERROR")


async def test_the_cluster_of_a_task_says_why_it_ended() -> None:
    async with job_service() as jobs:
        spot = cluster_failure("SPOT_INSTANCE_TERMINATION", "CLOUD_FAILURE", {"instance_id": "i-1"})
        task = (await jobs.api.run(jobs.run(TaskPlan("load", in_turn(spot)))))["tasks"][0]
        cluster = task["cluster_instance"]["cluster_id"]
        reason = (await jobs.api.cluster(cluster))["termination_reason"]
        serverless = (await jobs.api.run(jobs.run(ALWAYS, is_serverless=True)))["tasks"][0]
        jobs.now += 31 * 24 * 3600
        for gone in (cluster, "0101-000000-1"):
            with pytest.raises(WorkspaceNotFoundError):
                await jobs.api.cluster(gone)
    expected = {"code": "SPOT_INSTANCE_TERMINATION", "type": "CLOUD_FAILURE", "parameters": {"instance_id": "i-1"}}
    assert (code(task), reason) == ("CLUSTER_ERROR", expected)
    assert "cluster_instance" not in serverless


async def test_the_errors_of_a_pipeline_are_read_over_all_pages() -> None:
    async with job_service() as jobs:
        events = [{"id": str(n), "level": "ERROR" if n % 2 else "INFO"} for n in range(120)]
        jobs.stand_in.pipeline_events["p1"] = events
        errors = await jobs.api.pipeline_errors("p1", limit=100)
        few = await jobs.api.pipeline_errors("p1", limit=3)
        with pytest.raises(WorkspaceNotFoundError):
            await jobs.api.pipeline_errors("p2")
    assert ([each["id"] for each in errors], len(few)) == ([str(n) for n in range(1, 120, 2)], 3)


async def test_tasks_on_which_nothing_depends_decide_whether_the_run_succeeded() -> None:
    async with job_service() as jobs:
        healed = TaskPlan("notify", depends_on=("load",), run_if="ALL_DONE")
        assert code(await jobs.api.run(jobs.run(ALWAYS, healed))) == "SUCCESS_WITH_FAILURES"


async def test_what_is_gone_or_hidden_is_refused() -> None:
    async with job_service() as jobs:
        run_id = jobs.run(ALWAYS)
        hidden = jobs.run(ALWAYS)
        job = (await jobs.api.run(hidden))["job_id"]
        jobs.store.edit(job, replace(jobs.store.jobs[job], is_hidden=True))
        with pytest.raises(WorkspacePermissionError):
            await jobs.api.run(hidden)
        assert [run["run_id"] async for run in jobs.api.runs()] == [run_id]
        assert job not in [each["job_id"] async for each in jobs.api.jobs()]
        jobs.now += 60 * 24 * 3600
        assert [run async for run in jobs.api.runs()] == []
        for call in (jobs.api.run(run_id), jobs.api.output(run_id), jobs.api.repair_run(run_id), jobs.api.job(5)):
            with pytest.raises(WorkspaceNotFoundError):
                await call


async def test_a_job_is_found_by_name_and_tells_who_may_view_it() -> None:
    async with job_service() as jobs:
        job = jobs.add(ALWAYS, name="Nightly ETL", viewers=("ann@example.com",), tags={"team": "data"})
        for number in range(120):
            jobs.add(ALWAYS, name=f"other {number}")
        found = [each async for each in jobs.api.jobs(name="nightly etl")]
        assert [(each["job_id"], each["settings"]["tags"]) for each in found] == [(job, {"team": "data"})]
        assert len([each async for each in jobs.api.jobs()]) == 121
        users = (await jobs.api.permissions(job))["access_control_list"]
        assert [user["user_name"] for user in users] == ["ann@example.com"]


async def test_what_was_submitted_without_a_job_is_listed_as_such() -> None:
    async with job_service() as jobs:
        run_id = jobs.run(ALWAYS, is_one_time=True)
        other = jobs.run(ALWAYS)
        assert [run["run_id"] async for run in jobs.api.runs(run_type="SUBMIT_RUN")] == [run_id]
        assert [run["run_id"] async for run in jobs.api.runs(run_type="JOB_RUN")] == [other]
        assert [run["run_type"] async for run in jobs.api.runs()] == ["JOB_RUN", "SUBMIT_RUN"]
        assert len([job async for job in jobs.api.jobs()]) == 1


async def test_the_sample_job_heals_with_a_smaller_batch() -> None:
    async with job_service(sample_jobs) as jobs:
        jobs.now += 60
        runs = [run async for run in jobs.api.runs(only="completed")]
        assert sorted((run["run_name"], code(run)) for run in runs) == [
            ("hourly_sales", "SUCCESS"),
            ("nightly_etl", "RUN_EXECUTION_ERROR"),
        ]
        failed = next(run["run_id"] for run in runs if run["run_name"] == "nightly_etl")
        task = next(task for task in (await jobs.api.run(failed))["tasks"] if task["task_key"] == "load")
        assert "OutOfMemoryError" in (await jobs.api.output(task["run_id"]))["error"]
        first = await jobs.api.repair_run(failed)
        jobs.now += 300
        assert code(await jobs.api.run(failed)) == "RUN_EXECUTION_ERROR"
        await jobs.api.repair_run(failed, job_parameters={"batch_size": "5000"}, latest_repair_id=first)
        jobs.now += 300
        assert code(await jobs.api.run(failed)) == "SUCCESS"
