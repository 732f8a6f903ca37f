"""Makes a call again after a pause, for calls that bear to be made twice."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

_Result = TypeVar("_Result")

PauseAfter = Callable[[Exception, int], float | None]
"""Seconds to wait after a failure of the given try, counted from 1; None where it is not made again."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from `first_seconds` up to `longest_seconds`, at most `attempts` tries in all.

    `jitter`, from 0 to 1, is the part of each pause that is random, so that many who wait come back one by one.
    """

    first_seconds: float
    longest_seconds: float = math.inf
    attempts: int | None = None
    jitter: float = 0.0

    def pause_seconds(self, attempt: int, spread: float | None = None) -> float | None:
        """After the failure of try number `attempt`; None after the last. `spread`, 0 to 1, is random by default."""
        if self.attempts is not None and attempt >= self.attempts:
            return None
        if spread is None:
            spread = random.random()  # noqa: S311 - spreads tries, no secret
        pause = min(self.first_seconds * 2.0 ** min(attempt - 1, 60), self.longest_seconds)
        return pause * (1 - self.jitter + self.jitter * spread)

    def after(self, *failures: type[Exception]) -> PauseAfter:
        """For `retry`: these failures alone are tried again."""
        return lambda failure, attempt: self.pause_seconds(attempt) if isinstance(failure, failures) else None


async def retry(
    call: Callable[[], Awaitable[_Result]],
    pause_after: PauseAfter,
    *,
    limit_seconds: float = math.inf,
    clock: Callable[[], float] | None = None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> _Result:
    """What `call` returns in the end. Raises what it raised last.

    No try begins later than `limit_seconds` after the first one began. `clock` is the event loop's by default.
    """
    now = clock or asyncio.get_running_loop().time
    deadline = now() + limit_seconds
    attempt = 1
    while True:
        try:
            return await call()
        except Exception as failure:
            pause = pause_after(failure, attempt)
            if pause is None or now() + pause >= deadline:
                raise
            await sleep(pause)
            if now() >= deadline:
                # The process stood still meanwhile.
                raise
        attempt += 1
