"""Hours in which people are not written to. What waits is told when they end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo


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


def quiet_hours_of(text: str, zone: ZoneInfo) -> QuietHours | None:
    """From `22:00-07:00`; None for "". Raises `ValueError`."""
    begins, _, ends = text.partition("-")
    return QuietHours(time.fromisoformat(begins), time.fromisoformat(ends), zone) if text else None
