"""A failed run is read with its evidence, from the stand-in Jobs API over HTTP and from odd JSON."""

from __future__ import annotations

from typing import Any

import pytest

from app.databricks.workspace_errors import WorkspaceNotFoundError, WorkspaceRateLimitError
from app.jobs.runs.run_evidence import RunEvidence, failed_tasks
from app.jobs.runs.run_failure import ClusterTermination, RunFailure
from app.jobs.runs.run_summary import has_ended, termination_code
from app.local.job_plans import SUCCESS, Outcome, TaskPlan, cluster_failure, failure, in_turn
from tests.fakes.job_service import JobService, job_service

BROKEN = failure(
    "Workload failed", "Traceback (most recent call last):\nValueError: bad row, password=hunter2hunter2\n"
)
LOAD = TaskPlan("load", in_turn(BROKEN))
REPORT = TaskPlan("report", depends_on=("load",))


async def read(jobs: JobService, run_id: int) -> RunFailure:
    found = await RunEvidence(jobs.api, "main").failure(run_id)
    assert found is not None
    return found


async def test_a_failed_run_is_read_with_the_cause_its_parameters_and_no_secret() -> None:
    async with job_service() as jobs:
        run_id = jobs.run(REPORT, LOAD, parameters={"batch_size": "500", "day": ""})
        found = await read(jobs, run_id)
        assert jobs.stand_in.calls == {"runs/get": 1, "runs/get-output": 1}
    assert (found.run_id, found.job_name, found.workspace, found.run_type) == (run_id, "nightly_etl", "main", "JOB_RUN")
    assert found.parameters == {"batch_size": "500", "day": ""}
    assert found.ended_at_seconds > found.started_at_seconds > 1_700_000_000
    assert [(each.task_key, each.termination_code) for each in found.tasks] == [("load", "RUN_EXECUTION_ERROR")]
    assert found.tasks[0].error == "ValueError: bad row, password=[secret removed]"
    assert "hunter2" not in found.tasks[0].trace
    assert "Traceback" in found.tasks[0].trace
    assert found.original_attempt_run_id == run_id
    assert (found.is_continuous, found.is_serverless, found.repair_ids) == (False, False, ())


async def test_a_run_that_goes_on_or_succeeded_is_no_failure() -> None:
    async with job_service() as jobs:
        evidence = RunEvidence(jobs.api, "main")
        active = jobs.store.start(jobs.add(LOAD)).run_id
        assert await evidence.failure(active) is None
        assert await evidence.failure(jobs.run(TaskPlan("load"))) is None
        with pytest.raises(WorkspaceNotFoundError):
            await evidence.failure(5)


async def test_only_the_last_attempt_of_a_task_counts_through_retries_and_repairs() -> None:
    async with job_service() as jobs:
        first, other = failure("KeyError: 'a'"), failure("KeyError: 'b'")
        healed = TaskPlan("healed", in_turn(first, SUCCESS), max_retries=1)
        run_id = jobs.run(TaskPlan("load", in_turn(first, first, other), max_retries=1), healed)
        repair = await jobs.api.repair_run(run_id)
        jobs.now += 3600
        found = await read(jobs, run_id)
    assert [(each.task_key, each.error) for each in found.tasks] == [("load", "KeyError: 'b'")]
    assert found.tasks[0].attempt_number >= 2
    assert found.repair_ids == (repair,)


async def test_the_reason_why_the_cluster_ended_is_asked_where_the_code_of_the_task_leaves_it_open() -> None:
    async with job_service() as jobs:
        lost = cluster_failure("SPOT_INSTANCE_TERMINATION", "CLOUD_FAILURE", {"instance_id": "i-1"})
        found = await read(jobs, jobs.run(TaskPlan("load", in_turn(lost))))
    assert found.tasks[0].cluster == ClusterTermination(
        "SPOT_INSTANCE_TERMINATION", "CLOUD_FAILURE", {"instance_id": "i-1"}
    )
    assert found.tasks[0].termination_code == "CLUSTER_ERROR"


async def test_the_failed_iteration_explains_its_for_each_task() -> None:
    async with job_service() as jobs:
        found = await read(jobs, jobs.run(TaskPlan("each", iterations=(in_turn(SUCCESS), in_turn(BROKEN)))))
    assert [each.task_key for each in found.tasks] == ["each"]
    assert found.tasks[0].error.startswith("ValueError: bad row")


async def test_the_failed_task_of_a_nested_job_explains_the_task_that_ran_it() -> None:
    async with job_service() as jobs:
        inner = jobs.add(LOAD, name="inner")
        middle = jobs.add(TaskPlan("middle", job_id=inner), name="middle")
        found = await read(jobs, jobs.run(TaskPlan("outer", job_id=middle)))
    assert [each.task_key for each in found.tasks] == ["outer"]
    assert found.tasks[0].error.startswith("ValueError: bad row")


async def test_the_event_log_explains_a_pipeline_task() -> None:
    async with job_service() as jobs:
        exceptions = [
            {"class_name": "org.apache.spark.SparkException", "message": "Job aborted."},
            {"class_name": "java.io.IOException", "message": "disk full"},
        ]
        jobs.stand_in.pipeline_events["p1"] = [
            {"level": "ERROR", "timestamp": "2001-01-01T00:00:00Z", "message": "java.io.OldError: before"},
            {"level": "ERROR", "timestamp": "2099-01-01T00:00:00.1Z", "message": "Update 1 is FAILED."},
            {"level": "ERROR", "timestamp": "?", "message": "Flow failed.", "error": {"exceptions": exceptions}},
        ]
        plan = TaskPlan("dlt", in_turn(Outcome("RUN_EXECUTION_ERROR", "CLIENT_ERROR", "failed")), pipeline_id="p1")
        found = await read(jobs, jobs.run(plan))
    assert found.tasks[0].error == "java.io.IOException: disk full"
    assert "before" not in found.tasks[0].trace


async def test_more_than_a_hundred_tasks_are_read_and_the_evidence_has_a_limit() -> None:
    async with job_service() as jobs:
        tasks = [TaskPlan(f"t{number}", in_turn(BROKEN if number >= 90 else SUCCESS)) for number in range(150)]
        found = await read(jobs, jobs.run(*tasks))
        assert jobs.stand_in.calls["runs/get-output"] == len(found.tasks) == 50


async def test_an_unknown_code_is_kept_and_evidence_that_is_gone_is_left_out() -> None:
    async with job_service() as jobs:
        odd = Outcome("MOON_PHASE", "ASTRAL_FAILURE", "The moon was full")
        plan = TaskPlan("dlt", in_turn(odd), pipeline_id="gone")
        found = await read(jobs, jobs.run(plan))
    assert (found.tasks[0].termination_code, found.tasks[0].termination_type) == ("MOON_PHASE", "ASTRAL_FAILURE")
    assert found.tasks[0].error == "The moon was full"


async def test_a_run_that_never_began_says_why() -> None:
    async with job_service() as jobs:
        job = jobs.add(LOAD, is_queued=False)
        jobs.store.start(job)
        found = await read(jobs, jobs.store.start(job).run_id)
    assert found.termination_code == "MAX_CONCURRENT_RUNS_EXCEEDED"
    assert [each.termination_code for each in found.tasks] == ["MAX_CONCURRENT_RUNS_EXCEEDED"]
    assert found.tasks[0].message


async def test_evidence_that_a_later_look_may_give_is_not_left_out() -> None:
    async with job_service() as jobs:
        run_id = jobs.run(LOAD)
        jobs.stand_in.faults["runs/get-output"].extend(["rate limited"] * 20)
        with pytest.raises(WorkspaceRateLimitError):
            await RunEvidence(jobs.api, "main").failure(run_id)


ENDED: dict[str, Any] = {"status": {"state": "TERMINATED", "termination_details": {"code": "DRIVER_ERROR"}}}


@pytest.mark.parametrize(
    ("run", "keys"),
    [
        ({}, []),
        ({"tasks": None}, []),
        ({"tasks": [None, 3, {"task_key": None}]}, []),
        (
            {"tasks": [{"task_key": "a", "state": {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED"}}]},
            ["a"],
        ),
        (
            {"tasks": [ENDED | {"task_key": "late", "end_time": 9}, ENDED | {"task_key": "soon", "end_time": 3}]},
            ["soon", "late"],
        ),
        (
            {
                "tasks": [
                    {"task_key": "c", "status": {"state": "TERMINATED", "termination_details": {"code": "CANCELED"}}},
                    ENDED | {"task_key": "d", "end_time": 3},
                    {"task_key": "e", "status": {"state": "TERMINATED", "termination_details": {"code": "SKIPPED"}}},
                ]
            },
            ["d", "c"],
        ),
        # The same task in any order: the later attempt is still running.
        (
            {
                "tasks": [
                    {"task_key": "a", "attempt_number": 1, "status": {"state": "RUNNING"}},
                    ENDED | {"task_key": "a"},
                ]
            },
            [],
        ),
    ],
)
def test_odd_runs_give_the_causing_tasks_first(run: dict[str, Any], keys: list[str]) -> None:
    assert [each["task_key"] for each in failed_tasks(run)] == keys


def test_the_old_state_counts_where_there_is_no_status() -> None:
    old = {"state": {"life_cycle_state": "TERMINATED", "result_state": "TIMEDOUT"}}
    assert has_ended(old)
    assert termination_code(old) == "TIMEDOUT"
