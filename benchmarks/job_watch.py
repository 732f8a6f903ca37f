"""`python -m benchmarks.job_watch`: passes of the job watch over HTTP and SQLite, without a model's time: 500 jobs,
20,000 runs, 300 failures, 50 ms a call; a pass that is killed in the middle, and the next ones.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

from app.local.job_plans import SUCCESS, Outcome, TaskPlan, cluster_failure, failure
from tests.fakes.job_service import JobService
from tests.jobs.watching.watch_harness import Watcher, watcher

JOBS, RUNS, FAILURES = 500, 20_000, 300
CALL_SECONDS = 0.05
_FAILED = (
    failure("Workload failed", "Traceback (most recent call last):\nValueError: bad row\n"),
    cluster_failure("SPOT_INSTANCE_TERMINATION", "CLOUD_FAILURE"),
)


def add_runs(
    jobs: JobService, *, hours: float, of_jobs: int = JOBS, runs: int = RUNS, failures: int = FAILURES
) -> set[int]:
    """Runs that began within the last `hours`, each job's one after the other; the ids of those that failed."""
    outcomes: list[Outcome] = []
    task = TaskPlan("load", lambda _: outcomes[-1])
    ids = [jobs.add(task, name=f"job {number}", max_concurrent_runs=1_000) for number in range(of_jobs)]
    failed: set[int] = set()
    for number in range(runs):
        fails = number % (runs // failures) == 0 and len(failed) < failures
        outcomes.append(_FAILED[len(failed) % len(_FAILED)] if fails else SUCCESS)
        started_at = jobs.now - 300 - hours * 3600 * number / runs
        run = jobs.store.start(ids[number % of_jobs], at=started_at)
        failed |= {run.run_id} if fails else set()
    return failed


async def timed_pass(title: str, w: Watcher, running: Awaitable[object]) -> None:
    w.jobs.stand_in.calls.clear()
    began = time.monotonic()
    await running
    seconds = time.monotonic() - began
    calls = ", ".join(f"{count} {call}" for call, count in sorted(w.jobs.stand_in.calls.items()))
    print(f"{title}: {seconds:.1f} s\n    {calls}")


async def killed_midway(w: Watcher) -> None:
    """When a third of the failures are decided."""
    running = asyncio.create_task(w.watch().run_pass())
    while len(await w.history()) < FAILURES // 3:
        await asyncio.wait([running], timeout=0.01)
    running.cancel()
    await asyncio.wait([running])


async def check(w: Watcher, failed: set[int]) -> None:
    decided = [record.run_id for record in await w.history()]
    missed, again = len(failed - set(decided)), len(decided) - len(set(decided))
    print(f"    {len(decided)} decisions, {missed} failures not handled yet, {again} handled twice")


async def measure(title: str, *, hours: float, is_killed: bool = False) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with watcher(Path(folder)) as w:
            failed = add_runs(w.jobs, hours=hours)
            w.jobs.stand_in.delay_seconds = CALL_SECONDS
            if is_killed:
                await timed_pass(f"{title}, the killed pass", w, killed_midway(w))
                await check(w, failed)
            await timed_pass(f"{title}, the pass", w, w.watch().run_pass())
            await check(w, failed)
            await timed_pass(f"{title}, the next one", w, w.watch().run_pass())
            await check(w, failed)


async def main() -> None:
    await measure("Runs spread over a day", hours=23)
    await measure("All runs within half an hour", hours=0.5)
    await measure("Killed in the middle", hours=23, is_killed=True)


if __name__ == "__main__":
    asyncio.run(main())
