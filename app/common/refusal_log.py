"""Logs refused calls, at a limited rate: many of them cannot fill the log."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

_log = logging.getLogger(__name__)

_WINDOW_SECONDS = 60.0
_MAX_REASONS = 100


@dataclass(slots=True)
class _Window:
    timer: asyncio.TimerHandle
    more: int = 0


class RefusalLog:
    """Logs the first refusal for a reason at once, and the number of further ones once a minute."""

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    def note(self, reason: str) -> None:
        """`reason` quotes nothing of the call."""
        if reason not in self._windows and len(self._windows) >= _MAX_REASONS:
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
            _log_more(reason, window.more)
        self._windows.clear()

    def _open(self, reason: str) -> None:
        timer = asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._end, reason)
        self._windows[reason] = _Window(timer)

    def _end(self, reason: str) -> None:
        more = self._windows.pop(reason).more
        _log_more(reason, more)
        if more:
            # It goes on: the next minute is counted too.
            self._open(reason)


def _log_more(reason: str, more: int) -> None:
    if more:
        _log.warning("%d more calls were refused within a minute: %s", more, reason)
