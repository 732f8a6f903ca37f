"""Lists in ranges, from a workspace whose lists come in any order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from typing import Any
from unittest.mock import patch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.databricks.jobs_api import JobsApi
from app.jobs.runs import run_lists
from app.jobs.runs.run_lists import RunLists

MINUTE_MS = 60_000


class ListedRuns(JobsApi):
    """Of `starts`, in milliseconds; the run ids count them. `listed` counts the runs that were read."""

    def __init__(self, starts: list[int], order: str) -> None:
        self._starts = starts
        self._order = order
        self.listed = 0

    async def runs(self, **query: Any) -> AsyncGenerator[dict[str, Any], None]:
        from_ms, to_ms = query["start_time_from_ms"], query["start_time_to_ms"]
        found = [
            (start, number)
            for number, start in enumerate(self._starts, 1)
            if start >= from_ms and (to_ms is None or start <= to_ms)
        ]
        found.sort(reverse=self._order == "newest first")
        if self._order == "none":
            random.Random(len(found)).shuffle(found)
        for start, number in found:
            self.listed += 1
            yield {"run_id": number, "start_time": start}


@settings(max_examples=60)
@example([0, *[1] * 5], "newest first", 0, 24 * MINUTE_MS, None)
@given(
    st.lists(st.integers(0, 40 * MINUTE_MS) | st.sampled_from([0, 7 * MINUTE_MS, 7 * MINUTE_MS + 1]), max_size=80),
    st.sampled_from(["newest first", "oldest first", "none"]),
    st.integers(0, 40 * MINUTE_MS),
    st.integers(0, 40 * MINUTE_MS),
    st.none() | st.integers(0, 1000),
)
def test_every_run_of_the_time_is_listed_in_any_order(
    starts: list[int], order: str, from_ms: int, now_ms: int, expected: int | None
) -> None:
    api = ListedRuns(starts, order)
    with patch.multiple(run_lists, _MAX_RUNS_BEFORE_SPLIT=5, _RUNS_PER_RANGE=10):
        found = asyncio.run(RunLists(api).of_workspace(from_ms, now_ms, expected=expected))
    assert found.keys() == {number for number, start in enumerate(starts, 1) if start >= from_ms}


def test_a_busy_minute_is_divided_without_reading_everything_again() -> None:
    busy = [3 * 60 * MINUTE_MS + number * 100 for number in range(5_000)]
    for order in ("newest first", "oldest first"):
        api = ListedRuns(busy, order)
        found = asyncio.run(RunLists(api).of_workspace(0, 24 * 60 * MINUTE_MS, expected=None))
        assert len(found) == 5_000
        assert api.listed <= 5_200
