"""A pass over many runs: how often it asks the workspace, and that it handles every failure once."""

from __future__ import annotations

from pathlib import Path

from benchmarks.job_watch import add_runs
from tests.jobs.watching.watch_harness import watcher


async def test_a_pass_lists_pages_and_reads_each_failed_run_and_task_once(tmp_path: Path) -> None:
    async with watcher(tmp_path) as w:
        failed = add_runs(w.jobs, hours=20, of_jobs=120, runs=1_200, failures=30)
        result = await w.watch().run_pass()
        assert {record.run_id for record in result.records} == failed
        calls = dict(w.jobs.stand_in.calls)
        # 1,200 runs are 50 full pages; 24 ranges of time end with a page that is not full.
        assert 50 <= calls.pop("runs/list") <= 50 + 24 + 1
        # Of a job, whether it was edited since, as a retry is thought of; of a cluster that ended, why.
        assert calls == {"list": 2, "runs/get": 30, "runs/get-output": 30, "get": 30, "clusters/get": 15}
        w.jobs.stand_in.calls.clear()
        assert (await w.watch().run_pass()).records == ()
        assert w.jobs.stand_in.calls.pop("runs/list") <= 50 + 6 + 1
        assert w.jobs.stand_in.calls == {"list": 2}
        assert sorted(record.run_id for record in await w.history()) == sorted(failed)
