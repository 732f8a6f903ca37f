"""Whoever is refused often cannot fill the log."""

from __future__ import annotations

import asyncio

import pytest

from app.common.refusal_log import RefusalLog
from tests.fakes.virtual_time import VirtualTimeLoop


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_flood_for_one_reason_is_one_line_a_minute_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    async def flood() -> None:
        refusals = RefusalLog()
        for _ in range(600):
            refusals.note("401, no token")
            await asyncio.sleep(0.25)
        await asyncio.sleep(300)
        refusals.note("401, no token")
        refusals.close()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(flood())
    first, *counts, last = logged(caplog)
    assert first == last == "A call was refused: 401, no token"
    assert len(counts) == 3
    assert sum(int(line.split()[0]) for line in counts) == 599


def test_each_reason_is_logged_at_once_and_its_count_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def three() -> None:
        refusals = RefusalLog()
        for reason in ("401, no token", "400, no JSON", "401, no token"):
            refusals.note(reason)
        refusals.close()

    asyncio.run(three())
    assert logged(caplog) == [
        "A call was refused: 401, no token",
        "A call was refused: 400, no JSON",
        "1 more calls were refused within a minute: 401, no token",
    ]


def test_too_many_reasons_are_logged_as_one(caplog: pytest.LogCaptureFixture) -> None:
    async def many() -> None:
        refusals = RefusalLog()
        for number in range(1000):
            refusals.note(f"reason {number}")
        refusals.close()

    asyncio.run(many())
    assert len(logged(caplog)) <= 102
    assert "one of many reasons" in logged(caplog)[-1]
