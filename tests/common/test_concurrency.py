"""Things that are awaited at once."""

from __future__ import annotations

import asyncio

import pytest

from app.common.concurrency import gather_or_cancel


async def test_the_results_come_in_order() -> None:
    async def later(number: int) -> int:
        await asyncio.sleep(0.001 * (3 - number))
        return number

    assert await gather_or_cancel(later(number) for number in range(3)) == [0, 1, 2]
    assert await gather_or_cancel([]) == []


async def test_where_one_raises_the_others_have_ended_and_the_error_is_its_own() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("cancelled")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await gather_or_cancel([forever(), gather_or_cancel([forever(), fails()])])
    assert ended == ["cancelled"] * 2


async def test_who_is_cancelled_cancels_what_it_awaits() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    task = asyncio.create_task(gather_or_cancel([forever(), forever()]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"] * 2
