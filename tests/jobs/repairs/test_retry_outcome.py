"""How retries ended, how many there were, and the end of runs that go on for too long."""

from __future__ import annotations

from dataclasses import replace

from app.jobs.repairs.repair_request import RepairRequest, RetryAttempts, StartedRetry
from app.jobs.runs.run_evidence import RunEvidence
from app.local.job_plans import SUCCESS, TaskPlan, failure, in_turn
from app.storage.documents import DocumentStore
from tests.fakes.job_service import JobService
from tests.jobs.repairs.repair_harness import (
    FAILS,
    failed_run,
    refuses_repairs,
    repairs_of,
)


async def test_attempts_are_the_larger_of_ours_and_the_services(jobs: JobService, documents: DocumentStore) -> None:
    asked = failed_run(jobs, FAILS)
    latest = None
    for _ in range(2):
        latest = jobs.store.repair(asked.run_id, failed_tasks=True, latest_repair_id=latest)
        jobs.now += 3600
    evidence = RunEvidence(jobs.api, "w")
    found = await evidence.failure(asked.run_id)
    assert found is not None
    assert await repairs_of(jobs, documents).attempts(found) == RetryAttempts(2, 0)
    with_params = RepairRequest("own", asked.run_id, asked.job_id, found.ended_at_seconds, {"batch_size": "1"})
    await repairs_of(jobs, documents).start(with_params)
    jobs.now += 3600
    found = await evidence.failure(asked.run_id)
    assert found is not None
    assert await repairs_of(jobs, documents).attempts(found) == RetryAttempts(3, 1)


async def test_a_run_that_goes_on_for_too_long_is_canceled_however_often_that_is_asked(
    jobs: JobService, documents: DocumentStore
) -> None:
    run = jobs.store.start(jobs.add(TaskPlan("load")))
    green = jobs.store.start(jobs.add(TaskPlan("load")))
    repairs = repairs_of(jobs, documents)
    assert await repairs.cancel(run.run_id) == ""
    jobs.now += 3600
    assert await repairs.cancel(run.run_id) == ""
    assert "ended already" in await repairs.cancel(green.run_id)
    assert "gone" in await repairs.cancel(999)
    assert await repairs.outcome(StartedRetry("run", run.run_id)) == "canceled"
    assert await repairs.outcome(StartedRetry("run", green.run_id)) == "succeeded"
    assert await repairs.outcome(StartedRetry("run", 999)) == "unknown"


async def test_a_repair_of_ours_keeps_its_own_outcome_when_somebody_repairs_the_run_again(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs, in_turn(failure("a"), failure("b"), SUCCESS))
    ours = (await repairs_of(jobs, documents).start(asked)).started
    assert ours is not None
    jobs.now += 3600
    jobs.store.repair(asked.run_id, failed_tasks=True, latest_repair_id=ours.repair_id)
    assert await repairs_of(jobs, documents).outcome(ours) == "failed"
    jobs.now += 3600
    assert await repairs_of(jobs, documents).outcome(ours) == "failed"


async def test_a_run_in_place_of_another_is_active_until_the_job_retries_it_no_more(
    jobs: JobService, documents: DocumentStore
) -> None:
    behaviour = in_turn(failure("a"), failure("b"), SUCCESS)
    job_id = jobs.add(TaskPlan("load", behaviour), max_retries=2, retry_pause_seconds=60.0)
    run = jobs.store.start(job_id)
    repairs, seen = repairs_of(jobs, documents), []
    for _ in range(8):
        jobs.now += 60
        seen.append(await repairs.outcome(StartedRetry("run", run.run_id)))
    assert list(dict.fromkeys(seen)) == ["active", "succeeded"]
    jobs.store.edit(job_id, replace(jobs.store.job(job_id), max_retries=0))
    alone = jobs.store.start(job_id)
    jobs.now += 600
    assert await repairs.outcome(StartedRetry("run", alone.run_id)) == "failed"


async def test_retries_of_the_job_and_of_the_run_before_count_as_attempts(
    jobs: JobService, documents: DocumentStore
) -> None:
    job_id = jobs.add(TaskPlan("load", FAILS), max_retries=2)
    jobs.store.start(job_id)
    jobs.now += 3600
    last = max(jobs.store.runs_by_start(job_id=job_id), key=lambda each: each.attempt_number)
    evidence = RunEvidence(jobs.api, "w")
    found = await evidence.failure(last.run_id)
    assert found is not None
    assert await repairs_of(jobs, documents).attempts(found) == RetryAttempts(2, 0)
    refuses_repairs(jobs, "The run cannot be repaired.")
    asked = RepairRequest("x", last.run_id, job_id, found.ended_at_seconds, {"batch_size": "1"})
    result = await repairs_of(jobs, documents).start(asked)
    assert result.started is not None
    jobs.now += 3600
    for run in jobs.store.runs_by_start(job_id=job_id):
        if run.original_attempt_run_id == result.started.run_id:
            found = await evidence.failure(run.run_id)
            assert found is not None
            assert await repairs_of(jobs, documents).attempts(found) == RetryAttempts(3 + run.attempt_number, 1)
