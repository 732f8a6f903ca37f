"""When a timer is due: six fields of NCRONTAB in UTC, five without the seconds, or a length of time such as `00:05:00`.

https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from app.local.timespan import seconds_of

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_WEEKDAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
_TERM = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9]\d?))?")
_MAX_DAYS = 41 * 366
"""Within that time a 29 February falls on every day of the week."""


class ScheduleError(ValueError):
    """`str()` says what is wrong with the schedule."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    names: Sequence[str] = ()

    def parse(self, text: str) -> frozenset[int]:
        """Raises `ScheduleError`."""
        return frozenset(value for term in text.split(",") for value in self._term(term))

    def _term(self, text: str) -> range:
        found = _TERM.fullmatch(text)
        if found is None:
            raise ScheduleError(f"{text!r} is not a valid {self.name}")
        step = int(found["step"] or 1)
        if found["first"] is None:
            return range(self.least, self.most + 1, step)
        first = self._value(found["first"])
        if found["last"] is None:
            return range(first, (self.most if found["step"] else first) + 1, step)
        last = self._value(found["last"])
        if last < first:
            raise ScheduleError(f"{text!r} ends before it begins, as {self.name}")
        return range(first, last + 1, step)

    def _value(self, text: str) -> int:
        named = [number for number, name in enumerate(self.names) if len(text) >= 3 and name.startswith(text.lower())]
        value = named[0] + self.least if named else int(text) if text.isdecimal() else self.most + 1
        if not self.least <= value <= self.most:
            raise ScheduleError(f"{text!r} is not a valid {self.name}")
        return value


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    expression: str
    every: timedelta | None = None
    fields: tuple[frozenset[int], ...] = ()

    @classmethod
    def parse(cls, expression: str) -> Schedule:
        """Raises `ScheduleError`."""
        if ":" in expression:
            return cls(expression, every=_interval(expression))
        texts = expression.split()
        if len(texts) == 5:
            texts.insert(0, "0")
        if len(texts) != 6:
            raise ScheduleError(f"{expression!r} is not a schedule: that has six fields")
        try:
            fields = tuple(field.parse(text) for field, text in zip(_FIELDS, texts, strict=True))
        except ScheduleError as error:
            raise ScheduleError(f"{expression!r} is not a schedule: {error}") from None
        schedule = cls(expression, fields=fields)
        schedule.after(datetime.now(UTC))
        return schedule

    def after(self, moment: datetime) -> datetime:
        """The first time after `moment`, which is in UTC. Raises `ScheduleError` if there is none."""
        if self.every:
            return moment + self.every
        start = moment.replace(microsecond=0) + timedelta(seconds=1)
        for number in range(_MAX_DAYS):
            day = start.date() + timedelta(days=number)
            if self._fits(day) and (at := self._first(start.time() if number == 0 else time.min)):
                return datetime.combine(day, at, moment.tzinfo)
        raise ScheduleError(f"{self.expression!r} is never due")

    def _fits(self, day: date) -> bool:
        *_, days, months, weekdays = self.fields
        return day.day in days and day.month in months and day.isoweekday() % 7 in weekdays

    def _first(self, earliest: time) -> time | None:
        seconds, minutes, hours, *_ = map(sorted, self.fields)
        for hour in hours:
            for minute in minutes if hour >= earliest.hour else ():
                if (hour, minute) < (earliest.hour, earliest.minute):
                    continue
                for second in seconds:
                    if (at := time(hour, minute, second)) >= earliest:
                        return at
        return None


def _interval(expression: str) -> timedelta:
    try:
        every = timedelta(seconds=seconds_of(expression))
    except (ValueError, OverflowError) as error:
        raise ScheduleError(str(error)) from None
    if every <= timedelta(0):
        raise ScheduleError(f"{expression!r} must be longer than zero")
    return every
