"""Lists the runs of a stretch of time, in ranges side by side, since the pages of one list come one after another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from itertools import pairwise

from app.common.concurrency import gather_or_cancel
from app.common.json_values import count, items, mapping
from app.databricks.jobs_api import JobsApi
from app.jobs.runs.run_summary import RunSummary, run_summary
from app.jobs.runs.watched_jobs import JOB_REFUSALS

MAX_CONCURRENT_LISTS = 8
_FIRST_RANGES = 24
_RUNS_PER_RANGE = 240
_MAX_RANGES = 64
_MAX_RUNS_BEFORE_SPLIT = 480
_PARTS_OF_SPLIT = 8
_SHORTEST_RANGE_MS = 60_000

Runs = dict[int, RunSummary]


class RunLists:
    """All raise WorkspaceError. No order is relied on."""

    def __init__(self, api: JobsApi) -> None:
        self._api = api
        self._lists = asyncio.Semaphore(MAX_CONCURRENT_LISTS)

    async def of_workspace(self, from_ms: int, now_ms: int, *, expected: int | None) -> Runs:
        """Those that began at `from_ms` or later, even after `now_ms` where clocks differ, by run id. `expected` is
        about how many there are, None for unknown.
        """
        ranges = _FIRST_RANGES if expected is None else min(_MAX_RANGES, 1 + expected // _RUNS_PER_RANGE)
        return await self._in_ranges(from_ms, None, max(now_ms, from_ms + 1), ranges)

    async def of_job(self, job_id: int, from_ms: int) -> Runs:
        async with self._lists:
            runs = self._api.runs(job_id=job_id, start_time_from_ms=from_ms)
            return _by_id([run_summary(run) async for run in runs])

    async def active_before(self, until_ms: int, *, job_id: int | None = None) -> Runs:
        """Those that have not ended and began before `until_ms`: long ones, and old ones that are being repaired."""
        async with self._lists:
            runs = self._api.runs(job_id=job_id, only="active", start_time_to_ms=until_ms - 1)
            return _by_id([run_summary(run) async for run in runs])

    async def one(self, run_id: int) -> RunSummary | None:
        """None where it is gone, or may not be seen. Of the run of a task, the job is that of its whole run."""
        try:
            async with self._lists:
                return run_summary(await self._api.run(run_id))
        except JOB_REFUSALS:
            return None

    async def last_began_ms(self, run: RunSummary) -> int:
        """When the run began, or its last repair."""
        try:
            async with self._lists:
                history = items((await self._api.run(run.run_id)).get("repair_history"))
        except JOB_REFUSALS:
            history = []
        return max([run.started_ms, *(count(mapping(each).get("start_time")) for each in history)])

    async def _in_ranges(self, from_ms: int, to_ms: int | None, end_ms: int, parts: int) -> Runs:
        """`to_ms` is the last moment of the last range, None for no limit; `end_ms` is where to divide up to."""
        edges = [from_ms + (end_ms - from_ms) * part // parts for part in range(parts + 1)]
        starts = [(start, end) for start, end in pairwise(edges) if start < end]
        ranges = [(start, end - 1) for start, end in starts[:-1]]
        last = starts[-1][0]
        found = await gather_or_cancel(
            [*(self._range(start, end, end + 1) for start, end in ranges), self._range(last, to_ms, end_ms)]
        )
        return {run_id: run for runs in found for run_id, run in runs.items()}

    async def _range(self, from_ms: int, to_ms: int | None, end_ms: int) -> Runs:
        may_split = end_ms - from_ms > _SHORTEST_RANGE_MS
        read: list[RunSummary] = []
        async with self._lists, aclosing(self._api.runs(start_time_from_ms=from_ms, start_time_to_ms=to_ms)) as runs:
            async for run in runs:
                read.append(run_summary(run))
                if may_split and len(read) >= _MAX_RUNS_BEFORE_SPLIT:
                    break
            else:
                return _by_id(read)
        # What was read need not be read again, unless this list has no order, or does not show it: all began at once.
        starts = [run.started_ms for run in read]
        if starts[0] < starts[-1] and starts == sorted(starts):
            from_ms = starts[-1]
        elif starts[0] > starts[-1] and starts == sorted(starts, reverse=True):
            to_ms, end_ms = starts[-1], starts[-1] + 1
        return _by_id(read) | await self._in_ranges(from_ms, to_ms, max(end_ms, from_ms + 1), _PARTS_OF_SPLIT)


def _by_id(runs: Sequence[RunSummary]) -> Runs:
    return {run.run_id: run for run in runs if run.run_id}
