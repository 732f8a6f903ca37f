"""Wherever a worker dies, the next one repairs the run, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.jobs.repairs.repair_request import RepairRequest, StartedRetry
from app.local.job_plans import SUCCESS, JobPlan, TaskPlan, failure, in_turn
from app.storage.documents import DocumentStore
from tests.fakes.job_service import JobService
from tests.jobs.repairs.repair_harness import (
    FAILS,
    PARAMETERS,
    Fuse,
    FusedApi,
    FusedDocuments,
    Killed,
    failed_run,
    refuses_repairs,
    repairs_of,
)


async def test_an_unclear_repair_is_told_from_a_later_one_of_somebody_else(
    jobs: JobService, documents: DocumentStore
) -> None:
    """The worker dies after its repair was carried out, which fails; then a person repairs the run too."""
    asked = failed_run(jobs, in_turn(failure("a"), failure("b"), SUCCESS))
    fuse = Fuse(6)
    with pytest.raises(Killed):
        await repairs_of(jobs, FusedDocuments(documents, fuse), FusedApi(jobs.api, fuse)).start(asked)  # type: ignore[arg-type]
    [ours] = [each.repair_id for each in jobs.store.run(asked.run_id).rounds if each.repair_id is not None]
    jobs.now += 3600
    jobs.store.repair(asked.run_id, failed_tasks=True, latest_repair_id=ours)
    result = await repairs_of(jobs, documents).start(asked)
    assert result.started == StartedRetry("repair", asked.run_id, ours)
    assert await repairs_of(jobs, documents).outcome(result.started) == "failed"


def first_repair(jobs: JobService) -> RepairRequest:
    return failed_run(jobs)


def second_repair(jobs: JobService) -> RepairRequest:
    asked = failed_run(jobs, FAILS)
    jobs.store.repair(asked.run_id, failed_tasks=True)
    jobs.now += 3600
    return replace(asked, ended_at_seconds=jobs.store.run(asked.run_id).rounds[-1].ends_at)


def never_began(jobs: JobService) -> RepairRequest:
    job_id = jobs.store.add(JobPlan("nightly_etl", (TaskPlan("load"),), is_queued=False))
    jobs.store.start(job_id)
    refused = jobs.store.start(job_id)
    jobs.now += 3600
    return RepairRequest("incident/run", refused.run_id, job_id, refused.started_at)


def not_repairable(jobs: JobService) -> RepairRequest:
    asked = failed_run(jobs)
    refuses_repairs(jobs, "The run cannot be repaired.")
    return asked


def gone(jobs: JobService) -> RepairRequest:
    asked = failed_run(jobs)
    jobs.now += 61 * 24 * 3600
    return replace(asked, run_parameters=PARAMETERS)


def retries(jobs: JobService, asked: RepairRequest) -> int:
    return len(jobs.stand_in.repairs) + len(list(jobs.store.runs_by_start(job_id=asked.job_id)))


@pytest.mark.parametrize("situation", [first_repair, second_repair, never_began, not_repairable, gone])
async def test_wherever_two_workers_die_the_third_one_retries_the_run_once(
    jobs: JobService, documents: DocumentStore, situation: Callable[[JobService], RepairRequest]
) -> None:
    repair = jobs.store.repair
    for step in range(1, 40):
        jobs.store.repair = repair  # type: ignore[method-assign]
        asked = replace(situation(jobs), id=f"killed at {step}")
        before = retries(jobs, asked)
        was_killed = False
        for last_step in (step, step // 2 + 1):
            fuse = Fuse(last_step)
            fused = FusedDocuments(documents, fuse), FusedApi(jobs.api, fuse)
            try:
                await repairs_of(jobs, fused[0], fused[1]).start(asked)  # type: ignore[arg-type]
            except Killed:
                was_killed = True
            jobs.now += 200
        result = await repairs_of(jobs, documents).start(asked)
        assert result.started is not None, f"killed at step {step}, the run was not retried"
        assert result.started.by_us
        begun = retries(jobs, asked) - before
        assert begun == 1, f"killed at step {step}, the run was retried {begun} times"
        if not was_killed:
            return
    pytest.fail("no step was the last one")
