"""Wherever a worker dies, the next one repairs the run, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.repairs.repair_request import RepairRequest, RepairResult, StartedRetry
from app.local.job_plans import SUCCESS, JobPlan, TaskPlan, failure, in_turn
from app.storage.documents import DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.job_service import JobService, job_service
from tests.jobs.repairs.repair_harness import (
    Fuse,
    FusedApi,
    FusedDocuments,
    Killed,
    failed_run,
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


@pytest.mark.parametrize("never_began", [False, True])
async def test_wherever_a_worker_dies_the_next_one_repairs_the_run_once(tmp_path: Path, never_began: bool) -> None:
    for step in range(1, 40):
        store = SqliteStore(tmp_path / f"{step}.db")
        documents = store.documents()
        async with job_service() as jobs:
            if never_began:
                job_id = jobs.store.add(JobPlan("n", (TaskPlan("load"),), is_queued=False))
                jobs.store.start(job_id)
                asked = RepairRequest("incident/run", jobs.store.start(job_id).run_id, job_id, jobs.now)
                jobs.now += 3600
            else:
                asked = failed_run(jobs)
            fuse = Fuse(step)
            fused = FusedDocuments(documents, fuse), FusedApi(jobs.api, fuse)
            survived = True
            try:
                await repairs_of(jobs, fused[0], fused[1]).start(asked)  # type: ignore[arg-type]
            except Killed:
                survived = False
            result = RepairResult()
            for _ in range(3):
                jobs.now += 200
                result = await repairs_of(jobs, documents).start(asked)
            assert result.started is not None, f"killed at step {step}, the run was not retried"
            begun = (
                len(jobs.stand_in.repairs)
                + len(list(jobs.store.runs_by_start(job_id=asked.job_id)))
                - (2 if never_began else 1)
            )
            assert begun == 1, f"killed at step {step}, the run was retried {begun} times"
        await documents.close()
        await store.close()
        if survived:
            return
    pytest.fail("no step was the last one")
