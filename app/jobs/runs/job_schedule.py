"""When a job is due by its schedule, in its time zone, over changes of the clocks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from app.common.json_values import count, mapping, text
from app.jobs.runs.quartz import QuartzExpression

Json = Mapping[str, Any]

_CHANGE_HOURS = 2
"""The documentation says that around a change of the clocks runs may be skipped, or delayed by an hour or two."""
_MAX_ZONE_CHARACTERS = 60
_JAVA_OFFSET = re.compile(r"(?:GMT|UTC|UT)([+-])(\d{1,2})(?::?(\d{2}))?")
_UNIT_MS = {"MINUTES": 60_000, "HOURS": 3_600_000, "DAYS": 86_400_000, "WEEKS": 604_800_000}


@dataclass(frozen=True, slots=True)
class Occasion:
    """A run begins at `earliest_ms` or later, and is late from `latest_ms` on. They differ where clocks change."""

    earliest_ms: int
    latest_ms: int


class Schedule(Protocol):
    def next_after(self, moment_ms: int, until_ms: int) -> Occasion | None:
        """The first one that is due after `moment_ms` and not after `until_ms`."""
        ...


@dataclass(frozen=True, slots=True)
class CronSchedule:
    expression: QuartzExpression
    zone: tzinfo

    def next_after(self, moment_ms: int, until_ms: int) -> Occasion | None:
        local = self._local(moment_ms)
        # A day more, as the clock may have been set back meanwhile.
        until = self._local(until_ms) + timedelta(days=1)
        while (found := self.expression.first_after(local, until)) is not None:
            local = found
            occasion = self._occasion(found)
            if occasion is not None and occasion.earliest_ms > moment_ms:
                return occasion if occasion.earliest_ms <= until_ms else None
        return None

    def _occasion(self, local: datetime) -> Occasion | None:
        """None for a time that a change of the clocks skips."""
        first, last = (self._milliseconds(local, fold) for fold in (0, 1))
        if self._local(first) != local:
            return None
        change = timedelta(hours=_CHANGE_HOURS)
        moment = datetime.fromtimestamp(first / 1000, UTC)
        before, after = ((moment + each).astimezone(self.zone).utcoffset() for each in (-change, change))
        return Occasion(first, last if before == after else last + _CHANGE_HOURS * _UNIT_MS["HOURS"])

    def _local(self, moment_ms: int) -> datetime:
        moment = datetime.fromtimestamp(moment_ms // 1000, UTC)
        return moment.astimezone(self.zone).replace(tzinfo=None, fold=0)

    def _milliseconds(self, local: datetime, fold: int) -> int:
        return int(local.replace(tzinfo=self.zone, fold=fold).timestamp()) * 1000


@dataclass(frozen=True, slots=True)
class PeriodicSchedule:
    """Every so often after the last run."""

    interval_ms: int

    def next_after(self, moment_ms: int, until_ms: int) -> Occasion | None:
        due_ms = moment_ms + self.interval_ms
        return Occasion(due_ms, due_ms) if due_ms <= until_ms else None


def schedule_of(settings: Json) -> Schedule | None:
    """None for a job without a schedule, with a paused one, or with one that begins a run only on a condition.

    Raises ValueError for a schedule that cannot be read.
    """
    cron, trigger = mapping(settings.get("schedule")), mapping(settings.get("trigger"))
    if cron:
        if not _is_active(cron):
            return None
        expression = QuartzExpression.parse(text(cron.get("quartz_cron_expression")))
        return CronSchedule(expression, _zone(text(cron.get("timezone_id"))))
    periodic = mapping(trigger.get("periodic"))
    interval_ms = count(periodic.get("interval")) * _UNIT_MS.get(text(periodic.get("unit")), 0)
    return PeriodicSchedule(interval_ms) if interval_ms and _is_active(trigger) else None


def _is_active(trigger: Json) -> bool:
    return trigger.get("pause_status") != "PAUSED" and not trigger.get("sql_condition")


def _zone(name: str) -> tzinfo:
    """Of a name as Java has it: the sign of GMT+2 is as people say it."""
    if offset := _JAVA_OFFSET.fullmatch(name[:_MAX_ZONE_CHARACTERS]):
        sign, hours, minutes = offset.groups()
        shift = timedelta(hours=int(hours), minutes=int(minutes or 0))
        if shift < timedelta(days=1):
            return timezone(shift if sign == "+" else -shift)
    try:
        return ZoneInfo(name[:_MAX_ZONE_CHARACTERS])
    except (ValueError, OSError, LookupError):
        raise ValueError("The time zone is not known.") from None
