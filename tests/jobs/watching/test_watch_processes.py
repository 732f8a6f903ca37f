"""Passes in processes that are killed in the middle, and in several at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.job_policy import JobPolicy, WatchMode
from benchmarks.job_watch import add_runs
from tests.jobs.watching.watch_harness import ALICE
from tests.jobs.watching.watch_processes import Sums, watch_processes

AUTO = JobPolicy(mode=WatchMode.AUTO, is_rerun_safe=True, approvers=(ALICE,))
FAILURES = 30


@pytest.mark.slow
async def test_processes_that_are_killed_or_at_work_at_once_handle_every_failure_once(tmp_path: Path) -> None:
    async with watch_processes(tmp_path, AUTO) as processes:
        jobs = processes.jobs
        failed = add_runs(jobs, hours=20, of_jobs=40, runs=500, failures=FAILURES, causes=10, are_latest=True)
        jobs.stand_in.delay_seconds = 0.01
        for calls in (("runs/get", 15), ("runs/repair", 1), ("runs/repair", 9)):
            assert await processes.kill_at(*calls)
            jobs.now += 600
        for at_once in (2, 1, 1):
            await processes.run(at_once)
            jobs.now += 600
        told = {"opened": 10, "retry_started": 10, "recovered": 10}
        assert await processes.sums(failed) == Sums(FAILURES, 0, 0, FAILURES, 0, 10, 0, told)
