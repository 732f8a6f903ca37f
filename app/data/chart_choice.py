"""Which chart shows a result, chosen from the shape of its data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation, localcontext

from app.content.blocks import Cell, Chart, ChartKind, ColumnType, Point, Series
from app.data.result_set import ResultColumn, ResultSet

MAX_POINTS = 60
MAX_POINTS_IN_TIME = 400
# Clients have nine colors, and begin again.
MAX_PIE_SLICES = 9
MAX_SERIES = 6
_MAX_BARS = 30
_SUM_DIGITS = 200
"""No number of a result is as long."""
_TIME_NAME = re.compile(r"(?:^|_)(?:date|day|week|month|quarter|year)$")


def chart_of(result: ResultSet, wanted: ChartKind | None = None, title: str = "", *, other: str = "…") -> Chart | None:
    """None where no chart would show what the table says: one row, no number, too many points, rows that are missing.

    `wanted` is drawn if the data allows it: a pie has one series and no negative number. Its smallest values are added
    up in one slice, labelled `other`, where there are too many.
    """
    numbers = [n for n, column in enumerate(result.columns) if column.is_measure]
    labels = [n for n, column in enumerate(result.columns) if n not in numbers]
    if not result.is_whole or not numbers or not labels or len(result.rows) < 2 or len(numbers) > MAX_SERIES:
        return None
    time = _is_time(result.columns[labels[0]])
    if len(result.rows) * len(numbers) > (MAX_POINTS_IN_TIME if time else MAX_POINTS):
        return None
    if len(labels) > 1 and not (series := _pivoted(result, labels, numbers)):
        return None
    if len(labels) == 1:
        series = tuple(_series(result, labels[0], number) for number in numbers)
    kind, sums_up_rest = wanted or _kind(series, time=time), False
    if kind is None:
        return None
    if kind is ChartKind.PIE:
        if not _fits_a_pie(series):
            return None
        whole, series = series, (_largest(series[0], other),)
        sums_up_rest = series != whole
    first = result.columns[labels[0]].name
    value_axis = result.columns[numbers[0]].name if len(numbers) == 1 else ""
    return Chart(kind, series, title, first, value_axis, sums_up_rest=sums_up_rest)


def _is_time(column: ResultColumn) -> bool:
    return column.type in {ColumnType.DATE, ColumnType.TIMESTAMP} or _TIME_NAME.search(column.name.lower()) is not None


def _kind(series: Sequence[Series], *, time: bool) -> ChartKind | None:
    if time:
        return ChartKind.LINE
    if len(series) > 1:
        return ChartKind.GROUPED_BAR
    # Categories have no order that a line could follow.
    return ChartKind.VERTICAL_BAR if len(series[0].points) <= _MAX_BARS else None


def _fits_a_pie(series: Sequence[Series]) -> bool:
    return len(series) == 1 and all(point.value is not None and point.value >= 0 for point in series[0].points)


def _largest(series: Series, other: str) -> Series:
    """In their order, and the sum of the others after them."""
    points = series.points
    if len(points) <= MAX_PIE_SLICES:
        return series
    by_size = sorted(range(len(points)), key=lambda n: -(points[n].value or 0.0))
    kept = set(by_size[: MAX_PIE_SLICES - 1])
    with localcontext(prec=_SUM_DIGITS):
        rest = sum((_exact(points[n]) for n in by_size[MAX_PIE_SLICES - 1 :]), Decimal(0))
    return Series(series.name, (*(points[n] for n in sorted(kept)), _point(other, rest)))


def _exact(point: Point) -> Decimal:
    return Decimal(point.exact or repr(point.value or 0.0))


def _series(result: ResultSet, label: int, number: int) -> Series:
    points = tuple(_point(_label(row[label]), _number(row[number])) for row in result.rows)
    return Series(result.columns[number].name, points)


def _pivoted(result: ResultSet, labels: Sequence[int], numbers: Sequence[int]) -> tuple[Series, ...]:
    """A series for each value of the second label; none where that is not what the rows hold."""
    if len(labels) != 2 or len(numbers) != 1:
        return ()
    found: dict[str, dict[str, Point]] = {}
    for row in result.rows:
        points = found.setdefault(_label(row[labels[1]]), {})
        label = _label(row[labels[0]])
        if label in points or len(found) > MAX_SERIES:
            return ()
        points[label] = _point(label, _number(row[numbers[0]]))
    return tuple(Series(name, tuple(points.values())) for name, points in found.items())


def _label(cell: Cell) -> str:
    return "–" if cell is None else str(cell)


def _number(cell: Cell) -> Decimal | None:
    if isinstance(cell, bool) or cell is None:
        return None
    try:
        number = Decimal(repr(cell) if isinstance(cell, float) else cell)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number.adjusted() < _SUM_DIGITS else None


def _point(label: str, number: Decimal | None) -> Point:
    if number is None:
        return Point(label, None)
    value, digits = float(number), f"{number:f}"
    return Point(label, value, "" if digits in {repr(value), repr(value).removesuffix(".0")} else digits)
