"""The cron expressions of Quartz, in which jobs have their schedules:
http://www.quartz-scheduler.org/documentation/quartz-2.3.0/tutorials/crontrigger.html

No kept package reads them: those for cron count weekdays from another day and know no `?`, `15W`, `L-3`, year, or range
that goes on past the end, such as `FRI-MON`.
"""

from __future__ import annotations

from bisect import bisect_right
from calendar import monthrange
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

_MAX_CHARACTERS = 300
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_WEEKDAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_YEARS = (1970, 2199)
_ONE_DAY = timedelta(days=1)

DayRule = Callable[[date], bool]


@dataclass(frozen=True, slots=True)
class QuartzExpression:
    """Times are local, without a time zone. What the expression says of a day must hold for both of its fields."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    day_rules: tuple[DayRule, ...]
    weekday_rules: tuple[DayRule, ...]
    months: frozenset[int]
    years: frozenset[int]

    @classmethod
    def parse(cls, expression: str) -> QuartzExpression:
        """Raises ValueError for what is no expression of Quartz."""
        fields = expression[:_MAX_CHARACTERS].upper().split()
        if len(expression) > _MAX_CHARACTERS or len(fields) not in {6, 7}:
            raise ValueError("An expression of Quartz has six fields, or seven with the year.")
        second, minute, hour, day, month, weekday = fields[:6]
        return cls(
            seconds=_numbers(second, 0, 59),
            minutes=_numbers(minute, 0, 59),
            hours=_numbers(hour, 0, 23),
            day_rules=tuple(_day_rule(each) for each in day.split(",")),
            weekday_rules=tuple(_weekday_rule(each) for each in weekday.split(",")),
            months=frozenset(_numbers(month, 1, 12, _MONTHS)),
            years=frozenset(_numbers(fields[6] if len(fields) == 7 else "*", *_YEARS)),
        )

    def is_on(self, day: date) -> bool:
        return (
            day.month in self.months
            and day.year in self.years
            and any(rule(day) for rule in self.day_rules)
            and any(rule(day) for rule in self.weekday_rules)
        )

    def first_after(self, moment: datetime, until: datetime) -> datetime | None:
        """The earliest time after `moment`, and not after `until`."""
        day = moment.date()
        while day <= until.date():
            if self.is_on(day):
                found = self._time_after(moment.time() if day == moment.date() else None)
                if found is not None:
                    due = datetime.combine(day, found)
                    return due if due <= until else None
            day += _ONE_DAY
        return None

    def _time_after(self, moment: time | None) -> time | None:
        """None for a moment before the day begins."""
        first = time(self.hours[0], self.minutes[0], self.seconds[0])
        if moment is None:
            return first
        if moment.hour in self.hours:
            if moment.minute in self.minutes and (second := _above(self.seconds, moment.second)) is not None:
                return time(moment.hour, moment.minute, second)
            if (minute := _above(self.minutes, moment.minute)) is not None:
                return time(moment.hour, minute, self.seconds[0])
        hour = _above(self.hours, moment.hour)
        return None if hour is None else first.replace(hour=hour)


def _above(values: tuple[int, ...], value: int) -> int | None:
    place = bisect_right(values, value)
    return values[place] if place < len(values) else None


def _numbers(field: str, first: int, last: int, names: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """In order, at least one."""
    return tuple(sorted({number for each in field.split(",") for number in _part(each, first, last, names or {})}))


def _part(part: str, first: int, last: int, names: Mapping[str, int]) -> list[int]:
    span, slash, step = part.partition("/")
    start, dash, end = span.partition("-")
    if span == "*" or (slash and not span):
        numbers = list(range(first, last + 1))
    elif dash:
        from_, to = _number(start, first, last, names), _number(end, first, last, names)
        past_the_end = [*range(from_, last + 1), *range(first, to + 1)]
        numbers = list(range(from_, to + 1)) if from_ <= to else past_the_end
    else:
        number = _number(start, first, last, names)
        numbers = list(range(number, last + 1)) if slash else [number]
    return numbers[:: _number(step, 1, last, {})] if slash else numbers


def _number(text: str, first: int, last: int, names: Mapping[str, int]) -> int:
    number = names.get(text, -1)
    if text.isascii() and text.isdecimal() and len(text) <= 4:
        number = int(text)
    if not first <= number <= last:
        raise ValueError(f"{text[:20]!r} is not between {first} and {last}.")
    return number


def _day_rule(part: str) -> DayRule:
    if part == "?":
        return lambda _: True
    if part.startswith("L"):
        offset = part.removeprefix("L").removesuffix("W").removeprefix("-")
        before = _number(offset, 0, 30, {}) if offset else 0
        if part not in {"L", "LW", f"L-{offset}", f"L-{offset}W"}:
            raise ValueError(f"{part[:20]!r} names no day of a month.")
        is_weekday = part.endswith("W")
        return lambda day: day.day == _nth_day(day, _days_in_month(day) - before, nearest_weekday=is_weekday)
    if part.endswith("W"):
        number = _number(part.removesuffix("W"), 1, 31, {})
        return lambda day: day.day == _nth_day(day, number, nearest_weekday=True)
    numbers = frozenset(_part(part, 1, 31, {}))
    return lambda day: day.day in numbers


def _weekday_rule(part: str) -> DayRule:
    if part == "?":
        return lambda _: True
    weekday, hash_, nth = part.partition("#")
    if hash_:
        wanted, number = _number(weekday, 1, 7, _WEEKDAYS), _number(nth, 1, 5, {})
        return lambda day: _weekday(day) == wanted and (day.day - 1) // 7 + 1 == number
    if part != "L" and part.endswith("L"):
        last = _number(part.removesuffix("L"), 1, 7, _WEEKDAYS)
        return lambda day: _weekday(day) == last and day.day + 7 > _days_in_month(day)
    numbers = frozenset(_part("7" if part == "L" else part, 1, 7, _WEEKDAYS))
    return lambda day: _weekday(day) in numbers


def _nth_day(day: date, number: int, *, nearest_weekday: bool) -> int:
    """0 where the month of `day` has no such day. The nearest weekday, Monday to Friday, is of the same month."""
    days = _days_in_month(day)
    if not 1 <= number <= days:
        return 0
    weekday = day.replace(day=number).weekday()
    if not nearest_weekday or weekday < 5:
        return number
    if weekday == 5:
        return number - 1 if number > 1 else 3
    return number + 1 if number < days else days - 2


def _days_in_month(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _weekday(day: date) -> int:
    """Sunday is 1."""
    return day.isoweekday() % 7 + 1
