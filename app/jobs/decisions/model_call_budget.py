"""How many calls of a model there may be in an hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

HOUR_SECONDS = 3600.0


class ModelCallBudget:
    """`clock` is in seconds since 1970."""

    def __init__(self, max_calls_per_hour: int, clock: Callable[[], float]) -> None:
        self._max_calls = max_calls_per_hour
        self._clock = clock
        self._calls: deque[float] = deque()

    def take(self) -> bool:
        """Whether there may be one more call now, which then counts."""
        now = self._clock()
        while self._calls and self._calls[0] <= now - HOUR_SECONDS:
            self._calls.popleft()
        if len(self._calls) >= self._max_calls:
            return False
        self._calls.append(now)
        return True
