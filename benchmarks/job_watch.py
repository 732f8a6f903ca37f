"""`python -m benchmarks.job_watch [names]`: passes of the job watch in processes of their own, over HTTP and a store
that they share, without a model's time: 500 jobs, 20,000 runs, 300 failures, 50 ms a call.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import SecretStr

from app.jobs.job_policy import JobPolicy, WatchMode
from app.local.job_plans import SUCCESS, Outcome, TaskPlan, cluster_failure, failure
from app.storage.storage_account import StorageAccount
from tests.fakes.azurite import Azurite, installed
from tests.fakes.job_service import JobService
from tests.jobs.watching.watch_processes import WatchProcesses, watch_processes

JOBS, RUNS, FAILURES = 500, 20_000, 300
CALL_SECONDS = 0.05
_FAILED = (
    failure("Workload failed", "Traceback (most recent call last):\nValueError: bad row\n"),
    cluster_failure("SPOT_INSTANCE_TERMINATION", "CLOUD_FAILURE"),
)


def add_runs(
    jobs: JobService,
    *,
    hours: float,
    of_jobs: int = JOBS,
    runs: int = RUNS,
    failures: int = FAILURES,
    causes: int = len(_FAILED),
    are_latest: bool = False,
) -> set[int]:
    """Runs that began within the last `hours`, each job's one after the other; the ids of those that failed.
    `are_latest`: no newer runs of their jobs, so that they may be retried. A repair succeeds.
    """
    outcomes: list[Outcome] = []
    failed_outcomes = [*_FAILED, *(failure(f"KeyError: '{_word(number)}'") for number in range(causes))][:causes]
    task = TaskPlan("load", lambda _: outcomes[-1])
    ids = [jobs.add(task, name=f"job {number}", max_concurrent_runs=1_000) for number in range(of_jobs)]
    failed: set[int] = set()
    for number in range(runs):
        fails = len(failed) < failures and (are_latest or number % (runs // failures) == 0)
        outcomes.append(failed_outcomes[len(failed) % causes] if fails else SUCCESS)
        started_at = jobs.now - 300 - hours * 3600 * number / runs
        run = jobs.store.start(ids[number % of_jobs], at=started_at)
        failed |= {run.run_id} if fails else set()
    return failed


def _word(number: int) -> str:
    return "column_" + "".join("ghijklmnop"[int(digit)] for digit in str(number))


Proof = Callable[[WatchProcesses, set[int]], Awaitable[None]]


async def timed(title: str, processes: WatchProcesses, failed: set[int], working: Awaitable[object]) -> None:
    stand_in = processes.jobs.stand_in
    stand_in.calls.clear()
    began = time.monotonic()
    await working
    seconds = time.monotonic() - began
    calls = ", ".join(f"{count} {call}" for call, count in sorted(stand_in.calls.items()))
    print(f"  {title}: {seconds:.1f} s, {stand_in.calls.total()} calls: {calls}")
    print(f"    {await processes.sums(failed)}", flush=True)


async def passes(processes: WatchProcesses, failed: set[int], *, at_once: int = 1) -> None:
    """Until a pass changes nothing any more."""
    before = None
    number = 0
    while (sums := await processes.sums(failed)) != before:
        before, number = sums, number + 1
        what = "one pass" if at_once == 1 else f"{at_once} passes at once"
        await timed(f"{what}, number {number}", processes, failed, processes.run(at_once))
        processes.jobs.now += 600


async def at_once(processes: WatchProcesses, failed: set[int]) -> None:
    await passes(processes, failed, at_once=2)


async def killed(processes: WatchProcesses, failed: set[int]) -> None:
    for call, times in (("runs/list", 400), ("runs/get", 150), ("runs/repair", 1), ("runs/repair", 100)):
        await timed(f"killed at call {times} of {call}", processes, failed, processes.kill_at(call, times))
        processes.jobs.now += 600
    await passes(processes, failed)


async def measure(
    title: str,
    proof: Proof,
    *,
    causes: int,
    hours: float = 23,
    repairs: bool = True,
    where: StorageAccount | None = None,
) -> None:
    print(title, flush=True)
    policy = JobPolicy(mode=WatchMode.AUTO if repairs else WatchMode.OBSERVE, is_rerun_safe=True)
    with tempfile.TemporaryDirectory() as folder:
        async with watch_processes(Path(folder), policy, where) as processes:
            failed = add_runs(processes.jobs, hours=hours, causes=causes, are_latest=True)
            processes.jobs.stand_in.delay_seconds = CALL_SECONDS
            await proof(processes, failed)


async def observe() -> None:
    await measure("Observed, two causes, runs spread over a day", passes, causes=2, repairs=False)


async def half_hour() -> None:
    await measure("Observed, two causes, all runs within half an hour", passes, causes=2, repairs=False, hours=0.5)


async def auto() -> None:
    await measure("Repaired, each failure with a cause of its own", passes, causes=FAILURES)


async def auto_two_causes() -> None:
    await measure("Repaired, two causes", passes, causes=2)


async def auto_killed() -> None:
    await measure("Repaired, killed with SIGKILL and started again", killed, causes=FAILURES)


async def auto_at_once() -> None:
    await measure("Repaired by two processes at once", at_once, causes=FAILURES)


async def auto_azurite() -> None:
    with Azurite(installed()) as azurite:
        account = StorageAccount(SecretStr(azurite.connection_string))
        await measure("Repaired, the store in Azurite", passes, causes=FAILURES, where=account)


MEASUREMENTS = {
    each.__name__: each for each in (observe, half_hour, auto, auto_two_causes, auto_killed, auto_at_once, auto_azurite)
}


async def main(names: list[str]) -> None:
    for name in names or MEASUREMENTS:
        await MEASUREMENTS[name]()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
