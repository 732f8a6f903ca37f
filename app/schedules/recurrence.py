"""When a scheduled question is due: hourly, daily, on days of the week or of the month, in a time zone."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field

MAX_ZONE_CHARACTERS = 60
_HOUR_SECONDS = 3600.0
# A day that a time zone skipped is a day without an occasion; two months hold the next one of any recurrence.
_MAX_DAYS = 62


class Recurrence(BaseModel):
    """Every hour without an `hour`; else at that local time, on `weekdays` (Monday is 0) or on the day `month_day`, or
    every day. A month that is shorter has its last day instead.
    """

    model_config = ConfigDict(frozen=True)

    hour: int | None = Field(default=None, ge=0, le=23)
    minute: int = Field(default=0, ge=0, le=59)
    weekdays: tuple[int, ...] = ()
    month_day: int | None = Field(default=None, ge=1, le=31)

    def next_after(self, moment: float, zone: ZoneInfo) -> float:
        """In seconds since 1970. A local time that a change of the clocks skips is due as much later as they change;
        one that they repeat is due the first time.
        """
        local = datetime.fromtimestamp(moment, zone)
        if self.hour is None:
            due = local.replace(minute=self.minute, second=0, microsecond=0).timestamp()
            # Where clocks change by half an hour, the full hour before may be an hour and a half ago.
            while due <= moment:
                due += _HOUR_SECONDS
            return due
        for number in range(_MAX_DAYS):
            day = local.date() + timedelta(days=number)
            if self._is_on(day):
                due = datetime.combine(day, time(self.hour, self.minute), zone).timestamp()
                if due > moment:
                    return due
        raise AssertionError("every recurrence has an occasion within two months")

    def _is_on(self, day: date) -> bool:
        if self.month_day is not None:
            return day.day == min(self.month_day, monthrange(day.year, day.month)[1])
        return not self.weekdays or day.weekday() in self.weekdays


def occasion_of(due_at: float) -> str:
    """The name of one occasion, the same in every worker and time zone."""
    return datetime.fromtimestamp(due_at, UTC).strftime("%Y-%m-%dT%H:%MZ")


def zone_of(name: str) -> ZoneInfo | None:
    """For an IANA name in any case; None if there is none of it."""
    if not name or len(name) > MAX_ZONE_CHARACTERS:
        return None
    capitals = "/".join("_".join(word.capitalize() for word in part.split("_")) for part in name.split("/"))
    for candidate in (name, capitals, name.upper()):
        if (zone := _zone(candidate)) is not None:
            return zone
    # Such as America/Port-au-Prince.
    return _zone(_names().get(name.lower(), ""))


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None


@cache
def _names() -> dict[str, str]:
    """By their lower case. To find them takes a tenth of a second."""
    return {name.lower(): name for name in available_timezones()}
