"""Hours in which people are not written to. What waits is told when they end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.jobs.notifications.notifier import Notice

MANY_JOBS = 10


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `begins` to `ends` of each day in `zone`, over midnight where it ends earlier than it begins; never where
    both are equal.

    A local time that a change of the clocks skips comes as much later as they change; one that they repeat comes the
    first time.
    """

    begins: time
    ends: time
    zone: ZoneInfo

    def end_after(self, moment: float) -> float | None:
        """When the quiet hours end in which `moment` lies, both in seconds since 1970; None where it lies in none."""
        end = None
        day = datetime.fromtimestamp(moment, self.zone).date()
        # Where clocks change by a day, that of yesterday may last.
        for days in range(-2, 2):
            first = day + timedelta(days=days)
            last = first + timedelta(days=1) if self.ends < self.begins else first
            begin = datetime.combine(first, self.begins, self.zone).timestamp()
            over = datetime.combine(last, self.ends, self.zone).timestamp()
            if begin <= moment < over:
                end = moment = over
        return end


def passes_quiet_hours(notice: Notice, *, many_jobs: int = MANY_JOBS) -> bool:
    """An escalation of many jobs does, and what follows the decision of somebody who is awake."""
    if notice.kind == "escalated" and len(notice.incident.job_ids) >= many_jobs:
        return True
    return notice.kind in {"decided", "changed"} or notice.incident.decided_by is not None


def held_until(notice: Notice, quiet_hours: QuietHours | None, now: float) -> float:
    """When it is told, in seconds since 1970."""
    if quiet_hours is None or passes_quiet_hours(notice):
        return now
    end = quiet_hours.end_after(now)
    return now if end is None else end
