"""Blocks as Markdown for files and programs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from app.content.blocks import Block, Cell, Chart, Code, Facts, Folded, Image, Table, Text
from app.content.data_text import as_data, one_line

_MAX_CELL_CHARACTERS = 500
_BACKTICKS = re.compile("`+")


def block_markdown(block: Block) -> str:
    """Empty for what cannot be done in a file, such as a button. Citations stand with the text that they belong to."""
    return "\n".join(_lines(block))


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Text(text):
            yield text
        case Table():
            yield from _title(block.title)
            yield from _rows([column.name for column in block.columns], block.rows)
            if block.total_rows is not None and block.total_rows > len(block.rows):
                yield from ("", f"{len(block.rows)} of {block.total_rows} rows.")
        case Chart():
            yield from _title(block.title)
            yield from () if block.beside_table else _chart_rows(block)
        case Code():
            yield from _title(block.title)
            longest = max((len(each) for each in _BACKTICKS.findall(block.code)), default=0)
            fence = "`" * max(3, longest + 1)
            yield from (f"{fence}{block.language}", block.code, fence)
        case Facts():
            yield from _title(block.title)
            yield from (f"- {as_data(fact.label)}: {as_data(fact.value)}" for fact in block.facts)
        case Image() if block.url:
            yield f"[{as_data(block.alternative_text) or 'Image'}](<{one_line(block.url, 4_000)}>)"
        case Folded():
            yield from _title(block.title)
            yield "\n\n".join(text for each in block.blocks if (text := block_markdown(each)))


def _title(title: str) -> Iterator[str]:
    if title:
        yield from (f"**{as_data(title)}**", "")


def _chart_rows(chart: Chart) -> Iterator[str]:
    labels = list(dict.fromkeys(point.label for series in chart.series for point in series.points))
    names = [series.name or chart.y_axis or "value" for series in chart.series]
    points = [{point.label: point for point in series.points} for series in chart.series]

    def value(label: str, number: int) -> Cell:
        point = points[number].get(label)
        return None if point is None else point.exact or point.value

    rows = [(label, *(value(label, number) for number in range(len(points)))) for label in labels]
    yield from _rows([chart.x_axis or "label", *names], rows)


def _rows(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
    yield _row(header)
    yield _row(["---"] * len(header), escapes=False)
    yield from (_row(row) for row in rows)


def _row(cells: Sequence[Cell], *, escapes: bool = True) -> str:
    return f"| {' | '.join(_cell(cell) if escapes else str(cell) for cell in cells)} |"


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        cell = int(cell)
    return as_data(one_line(str(cell), _MAX_CELL_CHARACTERS))
