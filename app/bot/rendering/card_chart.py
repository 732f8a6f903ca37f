"""Charts as elements of an Adaptive Card that draw the numbers as they are, or none. Pure.

https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/charts-in-adaptive-cards
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from app.bot.rendering.block_text import distinct, labelled_points
from app.content.blocks import Chart, ChartKind
from app.content.data_text import one_line
from app.translation import Sentence, Translator

Json = dict[str, Any]

_BARS = frozenset({ChartKind.VERTICAL_BAR, ChartKind.HORIZONTAL_BAR, ChartKind.GROUPED_BAR, ChartKind.STACKED_BAR})
_COLOR_SET = "categorical"
_MAX_TITLE_CHARACTERS = 120
_MAX_LABEL_CHARACTERS = 60
_MAX_HORIZONTAL_LABEL_CHARACTERS = 30
# Clients cut what stands below a vertical bar to the bar's share of the width, which has room for so many characters.
_CHARACTERS_BELOW_BARS = 48
_MAX_HORIZONTAL_BARS = 30
# Clients write 333600000 as "333600k".
_LEAST_SCALED = 10_000
_UNITS = (
    (12, Sentence("{title} (trillions)"), Sentence("in trillions")),
    (9, Sentence("{title} (billions)"), Sentence("in billions")),
    (6, Sentence("{title} (millions)"), Sentence("in millions")),
    (3, Sentence("{title} (thousands)"), Sentence("in thousands")),
)
# Readers of JSON take no longer integer.
_EXACT = 2.0**53
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}")
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_MIDNIGHT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]00:00(?::00(?:\.0{1,9})?)?(?:Z|[+-]00:?00)?")

_Points = dict[str, float]


def chart_element(chart: Chart, translate: Translator) -> Json | None:
    """None where clients would draw other numbers than the table has."""
    axis, series = labelled_points(chart)
    if chart.chart is not ChartKind.HORIZONTAL_BAR and all(_DATE.match(label) for label in axis):
        # Series that begin at different times have their labels in another order than time.
        axis.sort()
    names = distinct([one_line(each.name or chart.y_axis, _MAX_LABEL_CHARACTERS) or "–" for each in chart.series])
    drawn = [{label: point.value for label, point in points.items() if point.value is not None} for points in series]
    values = [value for points in drawn for value in points.values()]
    kind = _drawable(chart.chart, axis, drawn)
    if kind is None or not values:
        return None
    power, y_title, title = _scaled_titles(chart, kind, values, translate)
    labels = _drawn_labels(axis, kind)
    scaled = [[(labels[label], _scaled(points[label], power)) for label in axis if label in points] for points in drawn]
    element: Json = {"title": title, "showTitle": bool(title), "colorSet": _COLOR_SET}
    if kind is ChartKind.PIE:
        return {"type": "Chart.Pie", **element, "data": [{"legend": x, "value": y} for x, y in scaled[0]]}
    element["xAxisTitle"] = one_line(chart.x_axis, _MAX_TITLE_CHARACTERS)
    element["yAxisTitle"] = y_title
    if len(scaled) == 1 and kind in _BARS:
        data = [{"x": x, "y": y} for x, y in scaled[0]]
        if kind is ChartKind.HORIZONTAL_BAR:
            # The axis of x is the one at the bottom, where the values are.
            across = {"xAxisTitle": element["yAxisTitle"], "yAxisTitle": element["xAxisTitle"]}
            return {"type": "Chart.HorizontalBar", **element, **across, "data": data}
        return {"type": "Chart.VerticalBar", **element, "data": data}
    lines = [
        {"legend": name, "values": [{"x": x, "y": y} for x, y in points]}
        for name, points in zip(names, scaled, strict=True)
        if points
    ]
    if kind is ChartKind.LINE:
        return {"type": "Chart.Line", **element, "data": lines}
    stacked = {"stacked": True} if kind is ChartKind.STACKED_BAR else {}
    return {"type": "Chart.VerticalBar.Grouped", **element, **stacked, "data": lines}


def _drawable(kind: ChartKind, axis: Sequence[str], series: Sequence[_Points]) -> ChartKind | None:
    """The kind that shows these numbers as they are. Clients draw a bar below zero as none, and a line over a gap."""
    values = [value for points in series for value in points.values()]
    negative = any(value < 0 for value in values)
    if kind is ChartKind.PIE:
        return None if negative or not any(values) or len(values) < len(axis) else kind
    gaps = any(_has_gap(axis, points) for points in series)
    if any(not any(label in points for points in series) for label in axis):
        # It would not stand on the axis at all.
        return None
    if kind is ChartKind.LINE and gaps:
        kind = ChartKind.GROUPED_BAR
    if kind in _BARS and negative:
        return None if gaps else ChartKind.LINE
    if kind is ChartKind.VERTICAL_BAR and len(series) == 1 and _labels_are_cut(axis):
        return ChartKind.HORIZONTAL_BAR
    return kind


def _labels_are_cut(axis: Sequence[str]) -> bool:
    return len(axis) <= _MAX_HORIZONTAL_BARS and max(map(len, _as_days(axis))) * len(axis) > _CHARACTERS_BELOW_BARS


def _as_days(axis: Sequence[str]) -> list[str]:
    """Times that are all midnights without their hour."""
    if all(_MIDNIGHT.fullmatch(label) for label in axis):
        return [_MIDNIGHT.sub(r"\1", label) for label in axis]
    return list(axis)


def _has_gap(axis: Sequence[str], points: _Points) -> bool:
    present = [label in points for label in axis]
    return True in present and False in present[present.index(True) : len(present) - present[::-1].index(True)]


def _drawn_labels(axis: Sequence[str], kind: ChartKind) -> dict[str, str]:
    """Each label as it is drawn: a time as YYYY-MM-DD, which clients place on an axis of time."""
    shown = _as_days(axis)
    if kind is ChartKind.LINE and all(_MONTH.fullmatch(label) for label in shown):
        shown = [f"{label}-01" for label in shown]
    most = _MAX_HORIZONTAL_LABEL_CHARACTERS if kind is ChartKind.HORIZONTAL_BAR else _MAX_LABEL_CHARACTERS
    return dict(zip(axis, distinct([one_line(label, most) or "–" for label in shown]), strict=True))


def _scaled_titles(
    chart: Chart, kind: ChartKind, values: Sequence[float], translate: Translator
) -> tuple[int, str, str]:
    """The power of ten that values are divided by, the title of the axis of values, and the chart's."""
    y_title, title = one_line(chart.y_axis, _MAX_TITLE_CHARACTERS), one_line(chart.title, _MAX_TITLE_CHARACTERS)
    largest = max(map(abs, values))
    if largest < _LEAST_SCALED:
        return 0, y_title, title
    power, titled, untitled = next(unit for unit in _UNITS if largest >= 10 ** unit[0])
    if kind is ChartKind.PIE:
        return power, y_title, translate(titled, title=title) if title else translate(untitled)
    return power, translate(titled, title=y_title) if y_title else translate(untitled), title


def _scaled(value: float, power: int) -> float:
    # Through decimal: 333600000 / 1e6 may be 333.59999999999997 in binary.
    scaled = float(Decimal(repr(value)).scaleb(-power))
    return int(scaled) if scaled.is_integer() and abs(scaled) < _EXACT else scaled
