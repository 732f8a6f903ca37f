"""When people are told: what waits for the end of quiet hours, and what does not."""

from __future__ import annotations

from collections.abc import Callable

from app.jobs.incidents.incident import Incident
from app.jobs.notifications.notifier import Notice
from app.jobs.quiet_hours import QuietHours

MANY_JOBS = 10

QuietHoursOf = Callable[[Incident], QuietHours | None]


def passes_quiet_hours(notice: Notice, *, many_jobs: int = MANY_JOBS) -> bool:
    """An escalation of many jobs does, and what follows the decision of somebody who is awake."""
    if notice.kind == "escalated" and len(notice.incident.job_ids) >= many_jobs:
        return True
    return notice.kind in {"decided", "changed"} or notice.incident.decided_by is not None


def held_until(notice: Notice, quiet_hours: QuietHoursOf | None, now: float) -> float:
    """When it is told, in seconds since 1970."""
    if quiet_hours is None or passes_quiet_hours(notice):
        return now
    hours = quiet_hours(notice.incident)
    end = None if hours is None else hours.end_after(now)
    return now if end is None else end
