"""Starts a function on its schedule, as the Functions host does.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.functions.timer import TimerRequest

from app.local.indexing import TimerFunction
from app.local.invocation import succeeds
from app.local.outage import within

_CLOCK_CHECK_SECONDS = 30.0
"""Timers stand still while a laptop sleeps, so that the clock is read again."""

_NEVER = datetime.min.replace(tzinfo=UTC)
_MIN_MONITORED_INTERVAL = timedelta(minutes=1)

log = logging.getLogger(__name__)


def now_in_utc() -> datetime:
    return datetime.now(UTC)


class TimerListener:
    """Keeps the next time in `file`: a time that passed while no host ran is made up for at the next start."""

    def __init__(self, function: TimerFunction, file: Path, *, now: Callable[[], datetime] = now_in_utc) -> None:
        self._function = function
        self._schedule = function.schedule
        self._now = now
        first = self._schedule.after(now())
        often = self._schedule.after(first) - first < _MIN_MONITORED_INTERVAL
        self._file = file if function.monitored and not often else None
        self._last = _NEVER
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Starts the function, one at a time, until `stop`; cancelled, it cancels the function too."""
        due = self._recorded()
        if due is not None and due < self._now():
            log.info("function %s was due at %s, when no host ran", self._function.name, due.isoformat())
            await self._start(due, past_due=True)
        elif self._function.run_on_startup:
            await self._start(due or self._schedule.after(self._now()), past_due=False)
        while not self._stopping.is_set():
            due = self._schedule.after(self._now())
            self._record(due)
            if await self._is_due(due):
                await self._start(due, past_due=False)

    def stop(self) -> None:
        """From now on the function is not started."""
        self._stopping.set()

    async def _is_due(self, due: datetime) -> bool:
        """Waits until then; False if it was stopped meanwhile."""
        while (left := (due - self._now()).total_seconds()) > 0:
            if await within(min(left, _CLOCK_CHECK_SECONDS), self._stopping.wait()):
                return False
        return not self._stopping.is_set()

    async def _start(self, due: datetime, *, past_due: bool) -> None:
        started = self._now()
        status = {"Last": self._last.isoformat(), "Next": due.isoformat(), "LastUpdated": self._last.isoformat()}
        self._last = started
        await succeeds(self._function, lambda: TimerRequest(past_due=past_due, schedule_status=status))

    def _recorded(self) -> datetime | None:
        """The next time on record; None if there is none, or the schedule has changed since."""
        if self._file is None:
            return None
        try:
            record = json.loads(self._file.read_text(encoding="utf-8"))
            if record["schedule"] != self._schedule.expression:
                return None
            self._last = datetime.fromisoformat(record["last"])
            due = datetime.fromisoformat(record["next"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return due if due.tzinfo else None

    def _record(self, due: datetime) -> None:
        if self._file is None:
            return
        record = {"schedule": self._schedule.expression, "last": self._last.isoformat(), "next": due.isoformat()}
        whole = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            whole.write_text(json.dumps(record), encoding="utf-8")
            whole.replace(self._file)
        except OSError as error:
            log.warning("the next time of function %s could not be recorded: %s", self._function.name, error)
