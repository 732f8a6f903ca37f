"""Blocks as one Adaptive Card. Pure.

https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference: version 1.5 at most.
Cards are flat, since Microsoft 365 Copilot drops what is nested. Data stands in text runs, which know no Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from app.bot.rendering.block_markdown import as_data, link
from app.bot.rendering.block_text import (
    MAX_COLUMNS_SHOWN,
    MAX_ROWS_SHOWN,
    cell_text,
    left_out,
    of_kinds,
    one_line,
    plain_text,
    table_of,
)
from app.bot.rendering.markdown import utf16_units
from app.content.blocks import Action, Actions, ActionStyle, Block, Cell, Chart, Column, ColumnType, Facts, Table
from app.translation import Translator

Json = dict[str, Any]

CARD_KINDS = frozenset({"table", "chart", "facts", "actions"})
"""The kinds of blocks that a card shows; a chart as the table of its numbers."""
CONTENT_TYPE = "application/vnd.microsoft.card.adaptive"
# In UTF-16 code units, as Teams counts: 28 KB, the smallest limit that is documented for any message of Teams.
# https://learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages
CARD_LIMIT_UTF16 = 14_000
_FALLBACK_LIMIT = 1_000
_MAX_ACTIONS = 6
# More than this many columns need the whole width of the chat.
_NARROW = 3
_MIN_COLUMN_CHARACTERS = 4
_MAX_COLUMN_CHARACTERS = 18
_PADDING_CHARACTERS = 4


def attachment(card: Json) -> Json:
    return {"contentType": CONTENT_TYPE, "content": card}


def adaptive_card(blocks: Sequence[Block], translate: Translator, limit: int = CARD_LIMIT_UTF16) -> Json | None:
    """A card of at most `limit` UTF-16 code units with the blocks that a card can show; None if there are none.

    Rows and facts that do not fit are left out, and the card says so of rows.
    """
    drawn = of_kinds(blocks, CARD_KINDS)
    if not drawn:
        return None
    fallback = "\n\n".join(plain_text(block, translate) for block in drawn)
    card: Json = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": "1.5",
        "fallbackText": fallback if len(fallback) <= _FALLBACK_LIMIT else fallback[: _FALLBACK_LIMIT - 1] + "…",
        "body": [],
    }
    actions = [_action(action, block.id) for block in drawn if isinstance(block, Actions) for action in block.actions]
    if actions:
        card["actions"] = actions[:_MAX_ACTIONS]
    shown = [table_of(block) if isinstance(block, Chart) else block for block in drawn]
    if any(len(block.columns) > _NARROW for block in shown if isinstance(block, Table)):
        card["msteams"] = {"width": "Full"}
    left = limit - _size(card)
    for number, block in enumerate(shown):
        # A share for each, so that the first table leaves room for the others.
        room = _Room(left // (len(shown) - number))
        elements = list(_elements(block, translate, room))
        left -= sum(_size(element) + 1 for element in elements)
        card["body"] += elements
    return card


class _Room:
    """What is left of a card's size."""

    def __init__(self, units: int) -> None:
        self._units = units

    def takes(self, part: Json) -> bool:
        self._units -= (units := _size(part) + 1)
        if self._units < 0:
            self._units += units
            return False
        return True


def _size(part: Json) -> int:
    return utf16_units(json.dumps(part, ensure_ascii=False, separators=(",", ":")))


def _elements(block: Block, translate: Translator, room: _Room) -> Iterator[Json]:
    match block:
        case Table():
            yield from _heading(block.title, room)
            yield from _table(block, translate, room)
        case Facts(facts, title):
            yield from _heading(title, room)
            drawn = [{"title": as_data(fact.label), "value": as_data(fact.value)} for fact in facts]
            fact_set: Json = {"type": "FactSet", "facts": []}
            if room.takes(fact_set):
                fact_set["facts"] = _fitting(drawn, room)
                yield fact_set


def _table(table: Table, translate: Translator, room: _Room) -> Iterator[Json]:
    columns = table.columns[:MAX_COLUMNS_SHOWN]
    drawn: Json = {
        "type": "Table",
        "firstRowAsHeaders": True,
        "showGridLines": True,
        "columns": [{"width": _width(column, [row[n] for row in table.rows])} for n, column in enumerate(columns)],
        "rows": [_row([column.name for column in columns], columns, weight="Bolder")],
    }
    # Room for the notes first; how many rows fit, which they tell, is known after that.
    notes = [note for note in _notes(table, 0, translate) if room.takes(note)]
    if not room.takes(drawn):
        yield from notes
        return
    rows = _fitting([_row(row, columns) for row in table.rows[:MAX_ROWS_SHOWN]], room)
    drawn["rows"] += rows
    yield drawn
    yield from list(_notes(table, len(rows), translate))[: len(notes)]


def _fitting(parts: Sequence[Json], room: _Room) -> list[Json]:
    fitting = []
    for part in parts:
        if not room.takes(part):
            break
        fitting.append(part)
    return fitting


def _width(column: Column, cells: Sequence[Cell]) -> int:
    """In shares of the table: by the characters of its longest cell, sentences not counted in full."""
    longest = max(len(column.name), *(len(cell_text(cell)) for cell in cells[:MAX_ROWS_SHOWN]), 0)
    return _PADDING_CHARACTERS + min(max(longest, _MIN_COLUMN_CHARACTERS), _MAX_COLUMN_CHARACTERS)


def _row(cells: Sequence[Cell], columns: Sequence[Column], **run: str) -> Json:
    # Not strict: a row is cut to the columns that are shown.
    texts = [_cell(cell_text(cell), column, **run) for cell, column in zip(cells, columns, strict=False)]
    return {"type": "TableRow", "cells": [{"type": "TableCell", "items": [text]} for text in texts]}


def _cell(text: str, column: Column, **run: str) -> Json:
    cell: Json = {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **run}]}
    if column.type is ColumnType.NUMBER:
        cell["horizontalAlignment"] = "Right"
    return cell


def _notes(table: Table, rows_shown: int, translate: Translator) -> Iterator[Json]:
    notes = left_out(table, rows_shown, translate)
    if notes:
        yield _text(" ".join(notes), isSubtle=True, size="Small")
    if table.source is not None and (source := link(table.source)):
        yield _text(source, size="Small")


def _heading(title: str, room: _Room) -> Iterator[Json]:
    heading = _text(as_data(title), weight="Bolder", size="Medium", style="heading")
    if title.strip() and room.takes(heading):
        yield heading


def _text(markdown: str, **look: object) -> Json:
    return {"type": "TextBlock", "text": markdown, "wrap": True, **look}


def _action(action: Action, decision_id: str) -> Json:
    """https://learn.microsoft.com/adaptive-cards/authoring-cards/universal-action-model"""
    data = {**action.data, "action_id": decision_id} if decision_id else dict(action.data)
    drawn: Json = {
        "type": "Action.Execute", "verb": action.verb, "title": one_line(action.title), "data": data
    }  # fmt: skip
    return drawn if action.style is ActionStyle.DEFAULT else {**drawn, "style": action.style.value}
