"""A result as people see it: a chart where the data has one, a page of the table, the SQL behind it, and buttons."""

from __future__ import annotations

import json
from dataclasses import replace

from app.content.block_limits import within_limits
from app.content.blocks import FIRST_ROW, Actions, Block, Cell, ChartKind, Code, Column, Folded, Page, Table, Text
from app.data.chart_choice import chart_of
from app.data.result_set import ResultSet
from app.data.stored_results import StoredResult
from app.messaging.actions import call_button
from app.messaging.result_files import file_button
from app.tools.base import ToolContext
from app.translation import Sentence, Translator

PAGE_ROWS = 20
NEXT_ROWS = "next_rows"
RUN_AGAIN = "run_again"
"""Tools that buttons call (`app.data.result_pages`, `app.data.rerun`)."""
RESULT = "result"
"""Their argument: the id of a stored result."""

SHOW_SQL = Sentence("Show SQL")
_OTHER = Sentence("Other")
_NEXT_ROWS = Sentence("Next rows")
_RUN_AGAIN = Sentence("Run again")
_AS_FILE = Sentence("As a CSV file")
_TRUNCATED = Sentence("The query found more rows than the {count} that were read.")
_MODEL_ROWS = 50
_MODEL_CHARACTERS = 8_000
_MODEL_CELL_CHARACTERS = 300


def present(
    stored: StoredResult, translate: Translator, *, wanted: ChartKind | None = None, with_chart: bool = True
) -> tuple[Block, ...]:
    """`wanted` is the kind of chart, where the data allows it."""
    blocks: list[Block] = []
    chart = chart_of(stored.result, wanted, stored.title, other=translate(_OTHER)) if with_chart else None
    if chart is not None:
        blocks.append(replace(chart, beside_table=True))
    blocks.append(page_of(stored, translate, title="" if chart else stored.title))
    if stored.result.truncated:
        blocks.append(Text(translate(_TRUNCATED, count=len(stored.result.rows))))
    if stored.query is not None and stored.query.sql:
        details = [Text(stored.explanation)] if stored.explanation.strip() else []
        blocks.append(Folded(translate(SHOW_SQL), (*details, Code(stored.query.sql, "sql"))))
    run_again = [call_button(translate(_RUN_AGAIN), RUN_AGAIN, {RESULT: stored.id})] if stored.query else []
    blocks.append(Actions((*run_again, file_button(translate(_AS_FILE), stored.id))))
    return tuple(within_limits(block) for block in blocks)


def page_of(
    stored: StoredResult, translate: Translator, first_row: int = 0, title: str = "", *, page_rows: int = PAGE_ROWS
) -> Table:
    """The rows from `first_row` on, counted from 0, with a button for those after them."""
    result = stored.result
    columns = tuple(Column(each.name, each.type, plain=each.is_plain) for each in result.columns)
    rows = result.rows[first_row : first_row + page_rows]
    page = None
    if rows:
        is_last = first_row + len(rows) >= len(result.rows) and stored.unread is None
        data = {RESULT: stored.id, FIRST_ROW: str(first_row + len(rows))}
        page = Page(first_row, call_button(translate(_NEXT_ROWS), NEXT_ROWS, data), is_last)
    total = len(result.rows) if result.total_rows is None and stored.unread is None else result.total_rows
    return Table(columns, rows, total, title, stored.source, page)


def stored_for_model(stored: StoredResult, context: ToolContext) -> str:
    return for_model(stored.result, stored.id if context.shows_blocks else "")


def for_model(result: ResultSet, id: str = "") -> str:
    """The first rows as JSON lines, and how many there are. With `id` the person sees the result, which can be drawn
    again by it.
    """
    lines = [json.dumps([column.name for column in result.columns], ensure_ascii=False)]
    left = _MODEL_CHARACTERS
    for row in result.rows[:_MODEL_ROWS]:
        line = json.dumps([_short(cell) for cell in row], ensure_ascii=False)
        left -= len(line)
        if left < 0:
            break
        lines.append(line)
    total = len(result.rows) if result.total_rows is None else result.total_rows
    more = "more than " if result.truncated else ""
    seen = f"; the person sees the result as a table; its id is {id}" if id else ""
    lines.append(f"({len(lines) - 1} of {more}{total} rows{seen})")
    return "\n".join(lines)


def _short(cell: Cell) -> Cell:
    # One long text would leave no room for any row.
    return f"{cell[:_MODEL_CELL_CHARACTERS]}…" if isinstance(cell, str) and len(cell) > _MODEL_CELL_CHARACTERS else cell
