"""Adds up the rows of a result by one of its columns, without losing a digit. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Context, Decimal, InvalidOperation

from app.content.blocks import Cell
from app.data.result_set import ResultColumn, ResultSet

_EXACT = Context(prec=1_000)


class GroupingError(ValueError):
    """Says to the model why the rows cannot be added up."""


def grouped(result: ResultSet, by: str, value: str = "") -> ResultSet:
    """One row for each value of the column `by`, in the order in which they come, with the sums of the column `value`,
    or of all that hold numbers. NULL counts as in SQL: a sum of nothing but NULL is NULL. Raises `GroupingError`.
    """
    if not result.is_whole:
        raise GroupingError("not all rows of the result are kept, so that sums would be wrong; ask for the data anew")
    label = _column(result, by)
    summed = [_column(result, value)] if value else [n for n, c in enumerate(result.columns) if c.is_measure]
    summed = [n for n in summed if n != label]
    if not summed:
        raise GroupingError("the result has no column of numbers that can be added up")
    if any(not result.columns[n].is_measure for n in summed):
        raise GroupingError(f"the column {value!r} holds no numbers that can be added up")
    groups: dict[Cell, list[Sequence[Cell]]] = {}
    for row in result.rows:
        groups.setdefault(row[label], []).append(row)
    rows = tuple(
        (name, *(_sum([row[n] for row in rows], result.columns[n]) for n in summed)) for name, rows in groups.items()
    )
    columns = tuple(result.columns[n] for n in (label, *summed))
    return ResultSet(columns, rows, len(rows))


def _column(result: ResultSet, name: str) -> int:
    names = [column.name for column in result.columns]
    matching = [n for n, each in enumerate(names) if each == name] or [
        n for n, each in enumerate(names) if each.casefold() == name.casefold()
    ]
    if len(matching) != 1:
        raise GroupingError(f"the result has no column {name!r}; its columns are: {', '.join(names)}")
    return matching[0]


def _sum(cells: Sequence[Cell], column: ResultColumn) -> Cell:
    values = [cell for cell in cells if cell is not None]
    if not values:
        return None
    if any(isinstance(each, float) for each in values):
        return _sum_of_floats(values)
    total = Decimal(0)
    for each in values:
        try:
            number = Decimal(str(each))
        except InvalidOperation:
            raise GroupingError(f"the column {column.name!r} holds {str(each)[:40]!r}, which cannot be added") from None
        if not number.is_finite():
            raise GroupingError(f"the column {column.name!r} holds {each}, which cannot be added")
        total = _EXACT.add(total, number)
    return f"{total:f}" if any(isinstance(each, str) for each in values) else int(total)


def _sum_of_floats(values: Sequence[Cell]) -> Cell:
    try:
        total = math.fsum(float(str(each)) for each in values)
    except (ValueError, OverflowError):
        total = math.nan
    if not math.isfinite(total):
        raise GroupingError("the numbers are too large, or not finite, and cannot be added")
    return total
