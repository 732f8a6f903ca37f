"""What an answer consists of besides its text: tables, charts, facts, actions. Meaning only, never how it is drawn.

A block is shown by `app.bot.rendering` and saved as JSON. Constructors check shapes (`ValueError`); `block_limits` cuts
what is too large: apply it to whatever comes from a model, a query or a service.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from app.content.citation import Citation


class ColumnType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"


class ChartKind(StrEnum):
    VERTICAL_BAR = "vertical_bar"
    HORIZONTAL_BAR = "horizontal_bar"
    LINE = "line"
    PIE = "pie"
    GROUPED_BAR = "grouped_bar"
    STACKED_BAR = "stacked_bar"


class ActionStyle(StrEnum):
    DEFAULT = "default"
    POSITIVE = "positive"
    DESTRUCTIVE = "destructive"


Cell = str | int | float | bool | None
"""Dates and timestamps as ISO 8601; a number as a string where a float would lose digits; None for SQL's NULL."""


@dataclass(frozen=True, slots=True)
class Link:
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph or more of Markdown."""

    text: str
    kind: Literal["text"] = field(default="text", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class Column:
    """Numbers of a `plain` column, such as years and ids, are shown without separators of thousands."""

    name: str
    type: ColumnType = ColumnType.TEXT
    plain: bool = False


FIRST_ROW = "first_row"
"""The field of a button's data that says with which row of a result the next page begins, counted from 0."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where the rows of a table stand in a longer result. `next_rows` shows those after them, given as `FIRST_ROW` the
    one that follows what was shown. `is_last`: there are none after those that the table has.
    """

    first_row: int
    next_rows: Action
    is_last: bool


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` of a result that has `total_rows`, or an unknown number of them: the first ones, or those of a `page`.
    `source` opens all of it.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total_rows: int | None = None
    title: str = ""
    source: Link | None = None
    page: Page | None = None
    kind: Literal["table"] = field(default="table", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if not self.columns:
            raise ValueError("a table needs a column")
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("each row of a table needs as many cells as there are columns")
        if any(isinstance(cell, float) and not math.isfinite(cell) for row in self.rows for cell in row):
            raise ValueError("numbers in a table are finite")
        before = self.page.first_row if self.page else 0
        if self.total_rows is not None and self.total_rows < before + len(self.rows):
            raise ValueError("the total of a table's rows includes those that it has")


@dataclass(frozen=True, slots=True)
class Image:
    """`alternative_text` describes the image, for screen readers. `data` is a PNG in base64, which is shown
    instead of `url`.
    """

    url: str
    alternative_text: str
    data: str = field(default="", repr=False)
    kind: Literal["image"] = field(default="image", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class Point:
    """Dates and timestamps as ISO 8601 in `label`. Without a `value` (SQL's NULL) there is a gap. `exact` has all
    digits of a number where a float has others, such as 0.10: it is written, and `value` is drawn.
    """

    label: str
    value: float | None
    exact: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A pie has one series; where it `sums_up_rest`, its last point is the sum of all values that have no slice of
    their own. `source` opens the numbers. `image` is shown where a channel draws no charts. `beside_table`: the numbers
    stand in a table of the same message too, and are not written twice where the chart is not drawn.
    """

    chart: ChartKind
    series: tuple[Series, ...]
    title: str = ""
    x_axis: str = ""
    y_axis: str = ""
    source: Link | None = None
    image: Image | None = None
    sums_up_rest: bool = False
    beside_table: bool = False
    kind: Literal["chart"] = field(default="chart", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        values = [point.value for series in self.series for point in series.points]
        if not values:
            raise ValueError("a chart needs a point")
        if self.chart is ChartKind.PIE and len(self.series) > 1:
            raise ValueError("a pie chart has one series")
        if any(value is not None and not math.isfinite(value) for value in values):
            raise ValueError("numbers in a chart are finite")


@dataclass(frozen=True, slots=True)
class Code:
    """`language` as after the backticks of Markdown, for example `sql`."""

    code: str
    language: str = ""
    title: str = ""
    kind: Literal["code"] = field(default="code", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Facts:
    facts: tuple[Fact, ...]
    title: str = ""
    kind: Literal["facts"] = field(default="facts", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class Action:
    """What a person can decide with a press. `verb` names the handler; `data` comes back to it. The person can read and
    change `data`: it holds identifiers, and grants nothing.
    """

    verb: str
    title: str
    data: Mapping[str, str] = field(default_factory=dict)
    style: ActionStyle = ActionStyle.DEFAULT


@dataclass(frozen=True, slots=True)
class Actions:
    """`id` names what is decided: presses with the same id, in whichever chat, are one decision. Without one each press
    is a decision of its own.
    """

    actions: tuple[Action, ...]
    id: str = ""
    kind: Literal["actions"] = field(default="actions", kw_only=True, repr=False)


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    title: str


@dataclass(frozen=True, slots=True)
class Input:
    """`name` is the field of the press's data that brings what was entered, or which of the `choices` was chosen."""

    name: str
    label: str
    value: str = ""
    choices: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """Opened by its `title`. `action` sends the inputs beside its own data: each of them can be any text. `id` is as in
    `Actions`.
    """

    title: str
    inputs: tuple[Input, ...]
    action: Action
    id: str = ""


@dataclass(frozen=True, slots=True)
class Forms:
    """What a person can fill in and send, hidden until it is opened. No two inputs have one name."""

    forms: tuple[Form, ...]
    kind: Literal["forms"] = field(default="forms", kw_only=True, repr=False)

    def __post_init__(self) -> None:
        names = [each.name for form in self.forms for each in form.inputs]
        if len(names) != len({*names}):
            raise ValueError("two inputs of a message have one name")


FoldedBlock = Text | Table | Code | Facts


@dataclass(frozen=True, slots=True)
class Folded:
    """Details such as the SQL or how an answer was found: hidden until a person opens them by `title`."""

    title: str
    blocks: tuple[FoldedBlock, ...]
    kind: Literal["folded"] = field(default="folded", kw_only=True, repr=False)


Block = Text | Table | Chart | Code | Facts | Image | Citation | Actions | Forms | Folded
