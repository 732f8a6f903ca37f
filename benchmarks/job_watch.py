"""`python -m benchmarks.job_watch`: a look of the job watch and the evidence of what it found, over HTTP: 500 jobs,
20,000 runs, 300 failures, 50 ms a call.
"""

from __future__ import annotations

import asyncio
import time

from app.common.concurrency import gather_or_cancel
from app.jobs.runs.run_evidence import RunEvidence
from app.jobs.runs.run_watch import RunWatch
from app.local.job_plans import SUCCESS, Outcome, TaskPlan, cluster_failure, failure
from tests.fakes.job_service import JobService, job_service

JOBS, RUNS, FAILURES = 500, 20_000, 300
CALL_SECONDS = 0.05
DAY_SECONDS = 24 * 3600.0
_FAILED = (
    failure("Workload failed", "Traceback (most recent call last):\nValueError: bad row\n"),
    cluster_failure("SPOT_INSTANCE_TERMINATION", "CLOUD_FAILURE"),
)


def add_runs(jobs: JobService, *, hours: float) -> set[int]:
    """Runs that began within the last `hours`, each job's one after the other; the ids of those that failed."""
    outcomes: list[Outcome] = []
    task = TaskPlan("load", lambda _: outcomes[-1])
    ids = [jobs.add(task, name=f"job {number}", max_concurrent_runs=1_000) for number in range(JOBS)]
    failed: set[int] = set()
    for number in range(RUNS):
        fails = number % (RUNS // FAILURES) == 0 and len(failed) < FAILURES
        outcomes.append(_FAILED[len(failed) % len(_FAILED)] if fails else SUCCESS)
        started_at = jobs.now - 300 - hours * 3600 * number / RUNS
        run = jobs.store.start(ids[number % JOBS], at=started_at)
        failed |= {run.run_id} if fails else set()
    return failed


async def measure(title: str, *, hours: float) -> None:
    async with job_service() as jobs:
        failed = add_runs(jobs, hours=hours)
        jobs.stand_in.delay_seconds = CALL_SECONDS
        watch = RunWatch(jobs.api, None, workspace="main", clock=lambda: jobs.now)
        evidence = RunEvidence(jobs.api, "main")
        for name in ("first look", "next look"):
            jobs.stand_in.calls.clear()
            began = time.monotonic()
            look = await watch.look()
            looked = time.monotonic() - began
            found = await gather_or_cancel(evidence.failure(run.run_id) for run in look.failed)
            whole = time.monotonic() - began
            missed = failed - {run.run_id for run in look.failed} if name == "first look" else set()
            calls = ", ".join(f"{count} {call}" for call, count in sorted(jobs.stand_in.calls.items()))
            print(f"{title}, {name}: {look.runs_listed} runs, {len(found)} failures, {len(missed)} missed")
            print(f"    {looked:.1f} s to look, {whole:.1f} s with evidence; {calls}")
            await watch.save(look)


async def main() -> None:
    await measure("Runs spread over a day", hours=23)
    await measure("All runs within half an hour", hours=0.5)


if __name__ == "__main__":
    asyncio.run(main())
