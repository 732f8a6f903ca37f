"""The type of a column of text: one that loses nothing of any value, and text where there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ColumnType:
    """`pattern` is what its values look like; `also` and `convert` are SQL, in which `{x}` is the value."""

    pattern: str
    convert: str
    also: str = "true"
    point: str = "."

    def fits(self, value: str) -> str:
        return f"(regexp_full_match({value}, '{self.pattern}') AND {self.also.format(x=value)})"

    def looks_like(self, values: Sequence[str]) -> bool:
        matches = re.compile(self.pattern).fullmatch
        return all(matches(value) for value in values)


# Numbers with leading zeros are codes, and dates with slashes begin with the month or with the day: both stay text.
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_COMMON = (
    ColumnType("[-+]?(0|[1-9][0-9]{0,17})", "CAST({x} AS BIGINT)"),
    ColumnType("[-+]?(0|[1-9][0-9]{0,20})([.][0-9]{1,15})?", "CAST({x} AS {decimal})"),
    ColumnType("(?i:true|false)", "CAST({x} AS BOOLEAN)"),
    ColumnType(_DAY, "CAST({x} AS DATE)", "TRY_CAST({x} AS DATE) IS NOT NULL"),
    ColumnType(
        "[0-9]{1,2}[.][0-9]{1,2}[.][0-9]{4}",
        "CAST(strptime({x}, '%d.%m.%Y') AS DATE)",
        "try_strptime({x}, '%d.%m.%Y') IS NOT NULL",
    ),
    ColumnType(
        _DAY + "[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?",
        "CAST({x} AS TIMESTAMP)",
        "TRY_CAST({x} AS TIMESTAMP) IS NOT NULL",
    ),
    # A longer whole number is a reference, of which a double would lose digits.
    ColumnType("[-+]?(0|[1-9][0-9]{0,14})([.][0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", "CAST({x} AS DOUBLE)"),
)
# What "1,234" is tells the separator of the columns; where that is neither, nothing does.
_BY_SEPARATOR = {
    ",": ColumnType(
        "[-+]?([0-9]{1,3}(,[0-9]{3}){1,6}|0|[1-9][0-9]{0,20})([.][0-9]{1,15})?",
        "CAST(replace({x}, ',', '') AS {decimal})",
    ),
    ";": ColumnType(
        "[-+]?([0-9]{1,3}([.][0-9]{3}){1,6}|0|[1-9][0-9]{0,20})(,[0-9]{1,15})?",
        "CAST(replace(replace({x}, '.', ''), ',', '.') AS {decimal})",
        point=",",
    ),
}


def candidates(sample: Sequence[str], separator: str) -> Iterator[ColumnType]:
    """Those that all of the values could be, the likeliest first; none for no value."""
    if not sample:
        return
    for each in (*_COMMON, *filter(None, [_BY_SEPARATOR.get(separator)])):
        if each.looks_like(sample):
            yield each
