"""Durations as .NET writes them (TimeSpan), in host.json and in the schedules of timers."""

from __future__ import annotations

import re

_TIMESPAN = re.compile(
    r"(?:(?P<days>\d{1,5})\.)?(?P<hours>\d{1,5}):(?P<minutes>[0-5]?\d):(?P<seconds>[0-5]?\d(?:\.\d{1,7})?)"
)
_SECONDS_PER_DAY = 24 * 3600


def seconds_of(text: str) -> float:
    """`00:00:02` is 2.0, `1.06:00:00` a day and six hours, and `25:00:00`, as .NET has it, 25 days.

    Raises `ValueError`.
    """
    found = _TIMESPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration such as 00:00:02")
    first, second, third = int(found["hours"]), int(found["minutes"]), float(found["seconds"])
    if first < 24:
        return int(found["days"] or 0) * _SECONDS_PER_DAY + first * 3600 + second * 60 + third
    if found["days"] or second > 23:
        raise ValueError(f"{text!r} has too many hours for a duration")
    return first * _SECONDS_PER_DAY + second * 3600 + third * 60
