"""How a CSV file is written: what separates its columns, where the table begins, and what the columns are called."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_COLUMNS = 200
MAX_NAME_CHARACTERS = 60
HEAD_CHARACTERS = 256_000
_SEPARATORS = ",;\t|"
_SAMPLE_ROWS = 200
_MAX_LINES_ABOVE = 20
# Excel's way to say it in the first line.
_SAID = re.compile(r"\"?sep=([^\"\w\s]|\t)\"?", re.IGNORECASE)
_VALUE = re.compile(r"[-+]?[0-9][0-9.,:/ -]{0,60}(?:[eE][-+]?[0-9]{1,3})?%?")


@dataclass(frozen=True, slots=True)
class Dialect:
    """`skip_lines` are above the first row of data, the header among them. `names` differ in more than their case.
    Rows may have more columns than `names`, which has `MAX_COLUMNS` at most. `left_out_above` is the last line of text
    above the table, or 0.
    """

    separator: str
    skip_lines: int
    names: tuple[str, ...]
    width: int
    left_out_above: int = 0


def dialect_of(head: str) -> Dialect:
    """`head` is how the file begins, `HEAD_CHARACTERS` at most."""
    first_line = head.partition("\n")[0].strip("\r\n")
    if said := _SAID.fullmatch(first_line):
        return _dialect(head, said[1], 1)
    found = [_dialect(head, separator, 0) for separator in _SEPARATORS]
    # Where none separates anything, all are alike and the first one is taken.
    return max(found, key=lambda each: (_agreement(head, each), each.width))


def _agreement(head: str, dialect: Dialect) -> float:
    """How much of the file has as many columns as most of it, where that is more than one."""
    widths = Counter(len(row) for _, row in _rows(head, dialect.separator) if any(row))
    width, count = widths.most_common(1)[0] if widths else (1, 0)
    return count / widths.total() if width > 1 else 0.0


def _dialect(head: str, separator: str, first_line: int) -> Dialect:
    rows = [(line, row) for line, row in _rows(head, separator) if line > first_line and any(row)]
    if not rows:
        return Dialect(separator, first_line, ("column1",), 1)
    usual = Counter(len(row) for _, row in rows).most_common(1)[0][0]
    start = next((number for number, (_, row) in enumerate(rows[:_MAX_LINES_ABOVE]) if len(row) >= usual), 0)
    line, first = rows[start]
    width = max(len(row) for _, row in rows[start:])
    has_header = not all(_VALUE.fullmatch(cell.strip()) for cell in first if cell.strip())
    above = line if has_header else rows[start - 1][0] if start else first_line
    names = _distinct(first if has_header else [""] * width, min(width, MAX_COLUMNS))
    return Dialect(separator, above, names, width, left_out_above=rows[start - 1][0] if start else 0)


def _rows(head: str, separator: str) -> Iterable[tuple[int, Sequence[str]]]:
    """Each row, and the number of the line in which it ends, from 1."""
    csv.field_size_limit(HEAD_CHARACTERS + 1)
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
    for _, row in zip(range(_SAMPLE_ROWS), reader, strict=False):
        yield reader.line_num, row


def _distinct(cells: Sequence[str], width: int) -> tuple[str, ...]:
    names: list[str] = []
    taken: set[str] = set()
    for number in range(width):
        said = cells[number] if number < len(cells) else ""
        printable = "".join(c if c.isprintable() else " " for c in said)
        name = " ".join(printable.split())[:MAX_NAME_CHARACTERS].strip() or f"column{number + 1}"
        more, count = name, 1
        while more.casefold() in taken:
            count += 1
            more = f"{name}_{count}"
        taken.add(more.casefold())
        names.append(more)
    return tuple(names)
