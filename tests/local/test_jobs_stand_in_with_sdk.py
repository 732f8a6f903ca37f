"""The stand-in's Jobs API serves Databricks' own SDK."""

from __future__ import annotations

import asyncio

import pytest

from app.local.job_plans import Outcome, TaskPlan, failure, in_turn
from app.local.job_store import LATEST_REPAIR_NEEDED
from tests.fakes.job_service import JobService, job_service
from tests.fakes.serving_endpoint import TOKEN

BROKEN = failure("ValueError: bad row")


def _through_the_sdk(jobs: JobService, job: int) -> None:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.clock import Clock
    from databricks.sdk.config import Config
    from databricks.sdk.errors import InvalidParameterValue, TooManyRequests

    class ServiceClock(Clock):
        def time(self) -> float:
            return jobs.now

        def sleep(self, seconds: float) -> None:
            jobs.now += seconds

    w = WorkspaceClient(config=Config(host=jobs.url, token=TOKEN, retry_timeout_seconds=3, clock=ServiceClock()))
    assert [each.settings.name for each in w.jobs.list(name="Nightly ETL") if each.settings] == ["Nightly ETL"]
    settings = w.jobs.get(job).settings
    assert settings is not None
    assert len(settings.tasks or ()) == 121
    first = int(w.jobs.run_now(job, idempotency_token="t", job_parameters={"batch": "5"}).run_id)
    assert w.jobs.run_now(job, idempotency_token="t").run_id == first
    assert [run.run_id for run in w.jobs.list_runs(active_only=True)] == [first]
    jobs.now += 3600
    listed = list(w.jobs.list_runs(job_id=job, completed_only=True, expand_tasks=True))
    assert [len(run.tasks or ()) for run in listed] == [121]
    run = w.jobs.get_run(first, include_history=True)
    assert run.as_dict()["status"]["termination_details"]["code"] == "RUN_EXECUTION_ERROR"
    failed = next(task for task in run.tasks or () if task.task_key == "load")
    assert failed.run_id is not None
    assert w.jobs.get_run_output(failed.run_id).error == BROKEN.error
    with pytest.raises(InvalidParameterValue, match="multiple tasks"):
        w.jobs.get_run_output(first)
    # The SDK repeats the call after an unclear answer, and so meets the lock of the repair that it began itself.
    jobs.stand_in.faults["runs/repair"].append("carried out, cut")
    with pytest.raises(InvalidParameterValue):
        w.jobs.repair_run(first, rerun_all_failed_tasks=True)
    assert len(jobs.stand_in.repairs) == 1
    jobs.now += 3600
    with pytest.raises(InvalidParameterValue, match=LATEST_REPAIR_NEEDED):
        w.jobs.repair_run(first, rerun_all_failed_tasks=True)
    history = w.jobs.get_run(first, include_history=True).repair_history or []
    w.jobs.repair_run(first, rerun_tasks=["load"], latest_repair_id=history[-1].id)
    assert len(jobs.stand_in.repairs) == 2
    w.jobs.cancel_run(first)
    assert list(w.jobs.list_runs(active_only=True)) == []
    jobs.stand_in.faults["runs/get"].extend(["rate limited"] * 20)
    with pytest.raises((TooManyRequests, TimeoutError)):
        w.jobs.get_run(first)
    jobs.stand_in.faults.clear()


def _code_by_the_sdk(jobs: JobService, run_id: int) -> object:
    from databricks.sdk import WorkspaceClient

    tasks = WorkspaceClient(host=jobs.url, token=TOKEN).jobs.get_run(run_id).tasks or []
    status = tasks[0].status
    assert status is not None
    assert status.termination_details is not None
    return status.termination_details.code


@pytest.mark.slow
async def test_the_sdk_of_databricks_is_served() -> None:
    async with job_service() as jobs:
        more = (TaskPlan(f"task_{number}") for number in range(120))
        job = jobs.add(*more, TaskPlan("load", in_turn(BROKEN)), name="Nightly ETL", parameters={"batch": "9"})
        await asyncio.to_thread(_through_the_sdk, jobs, job)
        new_code = Outcome("QUOTA_OF_TOMORROW", "NEW_TYPE")
        run_id = jobs.run(TaskPlan("load", in_turn(new_code)))
        assert await asyncio.to_thread(_code_by_the_sdk, jobs, run_id) is None
        assert (await jobs.api.run(run_id))["tasks"][0]["status"]["termination_details"]["code"] == "QUOTA_OF_TOMORROW"
