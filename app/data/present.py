"""A result as people see it: a chart where the data has one, the table, and the SQL behind it."""

from __future__ import annotations

import json

from app.content.block_limits import within_limits
from app.content.blocks import Block, ChartKind, Code, Folded, Link, Text
from app.data.chart_choice import chart_of
from app.data.result_set import ResultSet, to_table
from app.translation import Sentence, Translator

SHOW_SQL = Sentence("Show SQL")
_OTHER = Sentence("Other")
_MODEL_ROWS = 50
_MODEL_CHARACTERS = 8_000


def present(
    result: ResultSet,
    translate: Translator,
    *,
    title: str = "",
    sql: str = "",
    explanation: str = "",
    source: Link | None = None,
    wanted: ChartKind | None = None,
) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if (chart := chart_of(result, wanted, title, other=translate(_OTHER))) is not None:
        blocks.append(chart)
    blocks.append(to_table(result, "" if chart else title, source))
    if sql:
        details = [Text(explanation)] if explanation.strip() else []
        blocks.append(Folded(translate(SHOW_SQL), (*details, Code(sql, "sql"))))
    return tuple(within_limits(block) for block in blocks)


def for_model(result: ResultSet) -> str:
    """The first rows as JSON lines, and how many there are."""
    lines = [json.dumps([column.name for column in result.columns], ensure_ascii=False)]
    left = _MODEL_CHARACTERS
    for row in result.rows[:_MODEL_ROWS]:
        line = json.dumps(row, ensure_ascii=False)
        left -= len(line)
        if left < 0:
            break
        lines.append(line)
    total = len(result.rows) if result.total_rows is None else result.total_rows
    lines.append(f"({len(lines) - 1} of {total} rows; the person sees them as a table)")
    return "\n".join(lines)
