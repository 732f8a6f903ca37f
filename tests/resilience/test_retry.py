from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest

from app.resilience.retry import Backoff, retry
from tests.fakes.virtual_time import VirtualTimeLoop


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @wraps(test)
    def run(**arguments: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(**arguments))

    return run


class Remote:
    """Fails as often as it is told to, and notes when it was asked."""

    def __init__(self, *failures: Exception, seconds: float = 0.0) -> None:
        self.tried_at: list[float] = []
        self._began = asyncio.get_running_loop().time()
        self._failures = list(failures)
        self._seconds = seconds

    async def __call__(self) -> str:
        self.tried_at.append(asyncio.get_running_loop().time() - self._began)
        await asyncio.sleep(self._seconds)
        if self._failures:
            raise self._failures.pop(0)
        return "answer"


@in_virtual_time
async def test_a_call_that_fails_is_made_again_after_pauses_that_double_up_to_the_longest() -> None:
    remote = Remote(*[ConnectionError()] * 4)
    assert await retry(remote, Backoff(1, longest_seconds=3).after(ConnectionError)) == "answer"
    assert remote.tried_at == pytest.approx([0, 1, 3, 6, 9])


@in_virtual_time
async def test_a_failure_that_is_not_named_is_raised_at_once() -> None:
    remote = Remote(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await retry(remote, Backoff(1).after(ConnectionError))
    assert remote.tried_at == [0]


@in_virtual_time
async def test_after_the_last_attempt_the_last_failure_is_raised() -> None:
    remote = Remote(ConnectionError("first"), ConnectionError("second"), ConnectionError("third"))
    with pytest.raises(ConnectionError, match="second"):
        await retry(remote, Backoff(1, attempts=2).after(ConnectionError))


@pytest.mark.parametrize(("limit_seconds", "tries"), [(0.5, 1), (1, 1), (1.1, 2), (100, 7)])
@in_virtual_time
async def test_no_try_begins_after_the_time_limit(limit_seconds: float, tries: int) -> None:
    remote = Remote(*[ConnectionError()] * 50)
    with pytest.raises(ConnectionError):
        await retry(remote, Backoff(1).after(ConnectionError), limit_seconds=limit_seconds)
    assert len(remote.tried_at) == tries


@in_virtual_time
async def test_a_process_that_stood_still_past_the_limit_does_not_try_again() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    remote = Remote(ConnectionError())

    async def stall(_: float) -> None:
        loop.advance(100)

    with pytest.raises(ConnectionError):
        await retry(remote, Backoff(1).after(ConnectionError), limit_seconds=10, sleep=stall)
    assert len(remote.tried_at) == 1


@pytest.mark.parametrize("when", [0.5, 1.5])
@in_virtual_time
async def test_a_cancelled_caller_ends_the_call_or_the_pause(when: float) -> None:
    remote = Remote(*[ConnectionError()] * 50, seconds=1)
    task = asyncio.create_task(retry(remote, Backoff(1).after(ConnectionError)))
    await asyncio.sleep(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(100)
    assert len(remote.tried_at) == 1


@pytest.mark.parametrize(("spread", "pause"), [(0.0, 3.0), (1.0, 4.0)])
def test_jitter_shortens_a_pause_by_its_part_at_most(spread: float, pause: float) -> None:
    assert Backoff(4, jitter=0.25).pause_seconds(1, spread) == pause


def test_a_pause_stays_a_number_however_many_tries_there_were() -> None:
    backoff: Callable[[int], float | None] = Backoff(1, longest_seconds=60).pause_seconds
    assert backoff(10_000) == 60
