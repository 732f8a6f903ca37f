"""Refused calls in the log: whoever calls often cannot fill it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)

_WINDOW_SECONDS = 60.0
_MOST_REASONS = 100


@dataclass(slots=True)
class _Window:
    timer: asyncio.TimerHandle
    more: int = 0


class RefusalLog:
    """The first refusal for a reason is a line at once; those of the next minute are one line, with their number."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def note(self, reason: str) -> None:
        """`reason` is in words of ours alone."""
        if reason not in self._windows and len(self._windows) >= _MOST_REASONS:
            reason = "one of many reasons"
        window = self._windows.get(reason)
        if window is not None:
            window.more += 1
            return
        _log.warning("A call was refused: %s", reason)
        self._open(reason)

    def close(self) -> None:
        for reason, window in self._windows.items():
            window.timer.cancel()
            _tell(reason, window.more)
        self._windows.clear()

    def _open(self, reason: str) -> None:
        timer = asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._end, reason)
        self._windows[reason] = _Window(timer)

    def _end(self, reason: str) -> None:
        more = self._windows.pop(reason).more
        _tell(reason, more)
        if more:
            # Still going on: what comes next is counted too.
            self._open(reason)


def _tell(reason: str, more: int) -> None:
    if more:
        _log.warning("%d more calls were refused within a minute: %s", more, reason)
