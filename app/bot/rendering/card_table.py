"""Tables as elements of an Adaptive Card. Pure. Data stands in text runs, which know no Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.bot.rendering.block_markdown import link
from app.bot.rendering.block_text import MAX_COLUMNS_SHOWN, MAX_ROWS_SHOWN, cell_text, left_out
from app.bot.rendering.card_elements import NOTHING, Json, Room, fitting, text_block
from app.content.blocks import Column, ColumnType, Table
from app.content.data_text import one_line
from app.translation import Translator

_MIN_COLUMN_CHARACTERS = 4
_MAX_COLUMN_CHARACTERS = 18
_PADDING_CHARACTERS = 4
_MAX_HEADER_CHARACTERS = 200


def table_elements(table: Table, translate: Translator, room: Room) -> Iterator[Json]:
    columns = table.columns[:MAX_COLUMNS_SHOWN]
    texts = [
        [cell_text(cell, column, translate) for cell, column in zip(row, columns, strict=False)]
        for row in table.rows[:MAX_ROWS_SHOWN]
    ]
    drawn: Json = {
        "type": "Table",
        "firstRowAsHeaders": True,
        "showGridLines": True,
        "columns": [{"width": _width(column, [row[n] for row in texts])} for n, column in enumerate(columns)],
        "rows": [_row([one_line(column.name, _MAX_HEADER_CHARACTERS) for column in columns], columns, weight="Bolder")],
    }
    # Room for the notes first; how many rows fit, which they tell, is known after that.
    notes = [note for note in _notes(table, 0, translate) if room.takes(note)]
    if not room.takes(drawn):
        yield from notes
        return
    rows = fitting([_row(row, columns) for row in texts], room)
    drawn["rows"] += rows
    yield drawn
    yield from list(_notes(table, len(rows), translate))[: len(notes)]


def _width(column: Column, cells: Sequence[str]) -> int:
    """In shares of the table: by the characters of its longest cell, sentences not counted in full."""
    longest = max(len(column.name), *map(len, cells), 0)
    return _PADDING_CHARACTERS + min(max(longest, _MIN_COLUMN_CHARACTERS), _MAX_COLUMN_CHARACTERS)


def _row(cells: Sequence[str], columns: Sequence[Column], **run: str) -> Json:
    texts = [_cell(cell, column, **run) for cell, column in zip(cells, columns, strict=True)]
    return {"type": "TableRow", "cells": [{"type": "TableCell", "items": [text]} for text in texts]}


def _cell(text: str, column: Column, **run: str) -> Json:
    cell: Json = {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text or NOTHING, **run}]}
    if column.type is ColumnType.NUMBER:
        cell["horizontalAlignment"] = "Right"
    return cell


def _notes(table: Table, rows_shown: int, translate: Translator) -> Iterator[Json]:
    notes = left_out(table, rows_shown, translate)
    if notes:
        yield text_block(" ".join(notes), isSubtle=True, size="Small")
    if table.source is not None and (source := link(table.source)):
        yield text_block(source, size="Small")
