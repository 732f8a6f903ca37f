"""Blocks as plain text, and what all renderers of a block have in common. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from app.bot.rendering.number_text import number_text
from app.content.blocks import (
    FIRST_ROW,
    Action,
    Actions,
    Block,
    Cell,
    Chart,
    Code,
    Column,
    ColumnType,
    Facts,
    Folded,
    Forms,
    Image,
    Point,
    Table,
    Text,
)
from app.content.citation import Citation
from app.content.data_text import in_its_order, one_line
from app.translation import Sentence, Translator

# Beyond these a table in a chat is not read but opened where it comes from.
MAX_COLUMNS_SHOWN = 8
MAX_ROWS_SHOWN = 30
_MAX_CELL_SHOWN = 200
_MAX_SERIES_SAID = 3
_MAX_POINTS_SAID = 6
_RANGE = Sentence("highest {high} ({at_high}), lowest {low} ({at_low})")
_HIGHEST = Sentence("highest {high} ({at_high})")
_NO_ROWS = Sentence("No rows.")
_ROWS_LEFT_OUT = Sentence("Showing {shown} of {total} rows.")
_ROWS_OF = Sentence("Rows {first} to {last} of {total}.")
_ROWS = Sentence("Rows {first} to {last}.")
_MORE_ROWS = Sentence("Showing the first {shown} rows.")
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
            title = [one_line(block.title)] if block.title else []
            yield from title if block.beside_table else _table_lines(table_of(block), translate)
        case Code(code, _, title):
            yield from filter(None, (title, in_its_order(code)))
        case Facts(facts, title):
            yield from filter(None, (title, *(f"{one_line(fact.label)}: {one_line(fact.value)}" for fact in facts)))
        case Folded(title, blocks):
            yield from filter(None, (title, *(plain_text(each, translate) for each in blocks)))
        case Image(url, alternative_text):
            yield _link_line(alternative_text, url)
        case Citation(position, title, url):
            yield f"[{position}] {_link_line(title, url or '')}"
        case Actions() | Forms():
            yield no_buttons(block, translate)


def _table_lines(table: Table, translate: Translator) -> Iterator[str]:
    if table.title:
        yield one_line(table.title)
    columns = table.columns[:MAX_COLUMNS_SHOWN]
    yield " | ".join(one_line(column.name) for column in columns)
    rows = table.rows[:MAX_ROWS_SHOWN]
    for row in rows:
        yield " | ".join(cell_text(cell, column, translate) for cell, column in zip(row, columns, strict=False))
    yield from left_out(table, len(rows), translate)
    if table.source is not None:
        yield _link_line(table.source.title, table.source.url)


def _link_line(title: str, url: str) -> str:
    return " ".join(filter(None, (one_line(title), web_address(url))))


def left_out(table: Table, rows_shown: int, translate: Translator) -> list[str]:
    """What the reader of a shortened table has to know."""
    notes = [note] if (note := _rows_left_out(table, rows_shown, translate)) else []
    if (columns := len(table.columns)) > MAX_COLUMNS_SHOWN:
        notes.append(translate(_COLUMNS_LEFT_OUT, shown=MAX_COLUMNS_SHOWN, total=columns))
    return notes


def _rows_left_out(table: Table, rows_shown: int, translate: Translator) -> str:
    before = table.page.first_row if table.page else 0
    ends_here = table.page is None or table.page.is_last
    total = before + len(table.rows) if table.total_rows is None and ends_here else table.total_rows
    shown, of = number_text(rows_shown, translate), "" if total is None else number_text(total, translate)
    if total == 0:
        return translate(_NO_ROWS)
    if before and rows_shown:
        first, last = number_text(before + 1, translate), number_text(before + rows_shown, translate)
        return translate(_ROWS_OF, first=first, last=last, total=of) if of else translate(_ROWS, first=first, last=last)
    if total is None:
        return translate(_MORE_ROWS, shown=shown)
    return translate(_ROWS_LEFT_OUT, shown=shown, total=of) if rows_shown < total else ""


def next_rows(table: Table, rows_shown: int) -> Action | None:
    """The button for the rows after those that are shown, of which there may be fewer than the table has."""
    page = table.page
    if page is None or not rows_shown or (page.is_last and rows_shown >= len(table.rows)):
        return None
    return replace(page.next_rows, data={**page.next_rows.data, FIRST_ROW: str(page.first_row + rows_shown)})


def pages_of(blocks: Sequence[Block]) -> list[Block]:
    """The buttons for further rows of the tables that stand in the text."""
    tables = (block for block in blocks if isinstance(block, Table))
    found = (next_rows(table, min(len(table.rows), MAX_ROWS_SHOWN)) for table in tables)
    return [Actions((action,)) for action in found if action is not None]


def no_buttons(block: Actions | Forms, translate: Translator) -> str:
    buttons = block.actions if isinstance(block, Actions) else block.forms
    return translate(_NO_BUTTONS, titles=", ".join(one_line(button.title) for button in buttons))


def table_of(chart: Chart) -> Table:
    """The numbers of a chart, a column for each series. A label that a series has twice has two rows."""
    axis, series = labelled_points(chart)
    columns = [Column(series.name or chart.y_axis, ColumnType.NUMBER) for series in chart.series]
    rows = tuple((label, *(_number_of(points.get(label)) for points in series)) for label in axis)
    return Table((Column(chart.x_axis), *columns), rows, None, chart.title, chart.source)


def _number_of(point: Point | None) -> Cell:
    return None if point is None else point.exact or point.value


def labelled_points(chart: Chart) -> tuple[list[str], list[dict[str, Point]]]:
    """The labels of the axis, all different, and the points of each series by them."""
    keys: dict[tuple[str, int], None] = {}
    series: list[dict[tuple[str, int], Point]] = []
    for each in chart.series:
        seen: Counter[str] = Counter()
        values: dict[tuple[str, int], Point] = {}
        for point in each.points:
            values[point.label, seen[point.label]] = point
            seen[point.label] += 1
        keys.update(dict.fromkeys(values))
        series.append(values)
    labels = dict(zip(keys, distinct([label for label, _ in keys]), strict=True))
    return list(labels.values()), [{labels[key]: point for key, point in values.items()} for values in series]


def distinct(names: Sequence[str]) -> list[str]:
    """The same names, a number after each that came before."""
    taken = set(names)
    seen: Counter[str] = Counter()
    told_apart = []
    for name in names:
        seen[name] += 1
        shown = name
        while seen[name] > 1 and (shown := f"{name} ({seen[name]})") in taken:
            seen[name] += 1
        taken.add(shown)
        told_apart.append(shown)
    return told_apart


def _value(labelled: tuple[str, Point]) -> float:
    return labelled[1].value or 0.0


def main_numbers(chart: Chart, translate: Translator) -> str:
    """In one line: clients may drop the card that draws the chart."""
    axis, series = labelled_points(chart)
    parts = []

    def said_of(labelled: tuple[str, Point]) -> tuple[str, str]:
        label, point = labelled
        return one_line(label, _MAX_CELL_SHOWN), number_text(point.exact or point.value or 0.0, translate)

    for each, points in zip(chart.series[:_MAX_SERIES_SAID], series, strict=False):
        present = [(label, points[label]) for label in axis if label in points and points[label].value is not None]
        if not present:
            continue
        name = one_line(each.name, _MAX_CELL_SHOWN) if len(series) > 1 else ""
        if len(present) <= _MAX_POINTS_SAID:
            said = "; ".join(f"{x}: {y}" for x, y in map(said_of, present))
        elif chart.sums_up_rest:
            # The lowest value has no slice of its own.
            (at_high, high), (at_rest, rest) = said_of(max(present[:-1], key=_value)), said_of(present[-1])
            said = f"{translate(_HIGHEST, high=high, at_high=at_high)}; {at_rest}: {rest}"
        else:
            (at_high, high), (at_low, low) = said_of(max(present, key=_value)), said_of(min(present, key=_value))
            said = translate(_RANGE, high=high, at_high=at_high, low=low, at_low=at_low)
        parts.append(f"{name}: {said}" if name else said)
    title = one_line(chart.title, _MAX_CELL_SHOWN)
    return f"{title}: {'. '.join(parts)}" if title and parts else title or ". ".join(parts)


def cell_text(cell: Cell, column: Column, translate: Translator) -> str:
    """In one line; a number in the person's language with all its digits."""
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return str(cell).lower()
    if column.type is ColumnType.NUMBER or not isinstance(cell, str):
        plain = column.plain or column.type is not ColumnType.NUMBER
        return one_line(number_text(cell, translate, plain=plain), _MAX_CELL_SHOWN)
    return one_line(cell, _MAX_CELL_SHOWN)


def web_address(url: str) -> str:
    """The address if a person may be sent there, else nothing."""
    return url if url.startswith("https://") and url.isprintable() and " " not in url else ""


def without_verbs(blocks: Sequence[Block], verbs: AbstractSet[str]) -> tuple[Block, ...]:
    """Without the buttons of those verbs."""
    kept = (_without_verbs(block, verbs) if isinstance(block, Actions) else block for block in blocks)
    return tuple(block for block in kept if not isinstance(block, Actions) or block.actions)


def _without_verbs(block: Actions, verbs: AbstractSet[str]) -> Actions:
    return replace(block, actions=tuple(action for action in block.actions if action.verb not in verbs))


def of_kinds(blocks: Sequence[Block], kinds: frozenset[str]) -> tuple[Block, ...]:
    return tuple(block for block in blocks if block.kind in kinds)
