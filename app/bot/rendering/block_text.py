"""Blocks as plain text, and what all renderers of a block have in common. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from app.content.blocks import (
    Actions,
    Block,
    Cell,
    Chart,
    Citation,
    Code,
    Column,
    ColumnType,
    Facts,
    Folded,
    Image,
    Table,
    Text,
)
from app.translation import Sentence, Translator

# Beyond these a table in a chat is not read but opened where it comes from.
MAX_COLUMNS_SHOWN = 8
MAX_ROWS_SHOWN = 30
_MAX_CELL_SHOWN = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NO_ROWS = Sentence("No rows.")
_ROWS_LEFT_OUT = Sentence("Showing {shown} of {total} rows.")
_COLUMNS_LEFT_OUT = Sentence("Showing {shown} of {total} columns.")
_NO_BUTTONS = Sentence("Buttons cannot be shown here: {titles}")


def plain_text(block: Block, translate: Translator) -> str:
    """For a notification, a mail, a client that draws nothing."""
    return "\n".join(_lines(block, translate))


def _lines(block: Block, translate: Translator) -> Iterator[str]:
    match block:
        case Text(text):
            yield text
        case Table():
            yield from _table_lines(block, translate)
        case Chart():
            yield from _table_lines(table_of(block), translate)
        case Code(code, _, title):
            yield from filter(None, (title, code))
        case Facts(facts, title):
            yield from filter(None, (title, *(f"{one_line(fact.label)}: {one_line(fact.value)}" for fact in facts)))
        case Folded(title, blocks):
            yield from filter(None, (title, *(plain_text(each, translate) for each in blocks)))
        case Image(url, alternative_text):
            yield _link_line(alternative_text, url)
        case Citation(position, title, url):
            yield f"[{position}] {_link_line(title, url or '')}"
        case Actions():
            yield no_buttons(block, translate)


def _table_lines(table: Table, translate: Translator) -> Iterator[str]:
    if table.title:
        yield one_line(table.title)
    yield " | ".join(one_line(column.name) for column in table.columns[:MAX_COLUMNS_SHOWN])
    rows = table.rows[:MAX_ROWS_SHOWN]
    for row in rows:
        yield " | ".join(cell_text(cell) for cell in row[:MAX_COLUMNS_SHOWN])
    yield from left_out(table, len(rows), translate)
    if table.source is not None:
        yield _link_line(table.source.title, table.source.url)


def _link_line(title: str, url: str) -> str:
    return " ".join(filter(None, (one_line(title), web_address(url))))


def left_out(table: Table, rows_shown: int, translate: Translator) -> list[str]:
    """What the reader of a shortened table has to know."""
    total = len(table.rows) if table.total_rows is None else table.total_rows
    notes = []
    if total == 0:
        notes.append(translate(_NO_ROWS))
    elif rows_shown < total:
        notes.append(translate(_ROWS_LEFT_OUT, shown=rows_shown, total=total))
    if (columns := len(table.columns)) > MAX_COLUMNS_SHOWN:
        notes.append(translate(_COLUMNS_LEFT_OUT, shown=MAX_COLUMNS_SHOWN, total=columns))
    return notes


def no_buttons(block: Actions, translate: Translator) -> str:
    return translate(_NO_BUTTONS, titles=", ".join(one_line(action.title) for action in block.actions))


def table_of(chart: Chart) -> Table:
    """The numbers of a chart, a column for each series. A label that a series has twice has two rows."""
    rows: dict[tuple[str, int], list[Cell]] = {}
    for number, series in enumerate(chart.series):
        seen: dict[str, int] = {}
        for point in series.points:
            occurrence = seen[point.label] = seen.get(point.label, 0) + 1
            row = rows.setdefault((point.label, occurrence), [point.label, *[None] * len(chart.series)])
            row[number + 1] = point.value
    names = [series.name or chart.y_axis for series in chart.series]
    columns = (Column(chart.x_axis), *(Column(name, ColumnType.NUMBER) for name in names))
    return Table(columns, tuple(tuple(row) for row in rows.values()), None, chart.title, chart.source)


def cell_text(cell: Cell) -> str:
    """In one line. Numbers as they are: a separator of thousands would spoil a year and an identifier."""
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return str(cell).lower()
    return str(cell).removesuffix(".0") if isinstance(cell, float) else one_line(str(cell), _MAX_CELL_SHOWN)


def one_line(text: str, most: int = 1_000) -> str:
    text = " ".join(_CONTROL.sub(" ", text[: most * 2]).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def web_address(url: str) -> str:
    """The address if a person may be sent there, else nothing."""
    return url if url.startswith("https://") and url.isprintable() and " " not in url else ""


def of_kinds(blocks: Sequence[Block], kinds: frozenset[str]) -> tuple[Block, ...]:
    return tuple(block for block in blocks if block.kind in kinds)
