"""Blocks as one Adaptive Card. Pure.

https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference: version 1.5 at most.
Cards are flat, since Microsoft 365 Copilot drops what is nested. Data stands in text runs, which know no Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from app.bot.channel import CARD_KINDS, CARD_LIMIT_UTF16
from app.bot.rendering.block_markdown import as_data, link
from app.bot.rendering.block_text import (
    MAX_COLUMNS_SHOWN,
    MAX_ROWS_SHOWN,
    cell_text,
    left_out,
    next_rows,
    of_kinds,
    one_line,
    plain_text,
    table_of,
)
from app.bot.rendering.card_chart import chart_element
from app.bot.rendering.markdown import render, utf16_units
from app.content.blocks import (
    Action,
    Actions,
    ActionStyle,
    Block,
    Chart,
    Code,
    Column,
    ColumnType,
    Facts,
    Folded,
    Image,
    Table,
    Text,
)
from app.translation import Translator

Json = dict[str, Any]

CONTENT_TYPE = "application/vnd.microsoft.card.adaptive"
_FALLBACK_LIMIT = 1_000
_MAX_ACTIONS = 6
_MAX_TOGGLE_CHARACTERS = 60
_MAX_HIDDEN = 12
_MAX_SHORTENED_CODE = 500
# Of those that CodeBlock knows.
_LANGUAGES = {"sql": "Sql", "python": "Python", "py": "Python", "json": "Json"}
# More than this many columns need the whole width of the chat.
_NARROW = 3
_MIN_COLUMN_CHARACTERS = 4
_MAX_COLUMN_CHARACTERS = 18
_PADDING_CHARACTERS = 4
_MAX_HEADER_CHARACTERS = 200


def attachment(card: Json) -> Json:
    return {"contentType": CONTENT_TYPE, "content": card}


def adaptive_card(
    blocks: Sequence[Block], translate: Translator, limit: int = CARD_LIMIT_UTF16, *, draws_charts: bool = True
) -> Json | None:
    """A card of at most `limit` UTF-16 code units, images in it not counted, with the blocks that a card can
    show; None if there are none.

    Rows and facts that do not fit are left out, and the card says so of rows.
    """
    drawn = of_kinds(blocks, CARD_KINDS)
    if not draws_charts:
        drawn = tuple(_without_chart(block) for block in drawn)
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
    pages = [_action(block.page.next_rows, "") for block in drawn if isinstance(block, Table) and block.page]
    others = [_action(action, block.id) for block in drawn if isinstance(block, Actions) for action in block.actions]
    if actions := [*pages, *others][:_MAX_ACTIONS]:
        # Room for them: with which row the next page begins is known when the table is drawn.
        card["actions"] = actions
    if any(isinstance(block, Chart) or (isinstance(block, Table) and len(block.columns) > _NARROW) for block in drawn):
        card["msteams"] = {"width": "full"}
    left = limit - _size(card)
    pages.clear()
    for number, block in enumerate(drawn):
        # A share for each, so that the first table leaves room for the others.
        room = _Room(left // (len(drawn) - number))
        elements = list(_elements(block, translate, room, f"folded{number}"))
        left -= sum(_size(element) + 1 for element in elements)
        card["body"] += elements
        if isinstance(block, Table) and (following := next_rows(block, _rows_shown(elements))) is not None:
            pages.append(_action(following, ""))
    card.pop("actions", None)
    if actions := [*pages, *others][:_MAX_ACTIONS]:
        card["actions"] = actions
    return card


def _rows_shown(elements: Sequence[Json]) -> int:
    return sum(len(element["rows"]) - 1 for element in elements if element["type"] == "Table")


def _without_chart(block: Block) -> Block:
    if not isinstance(block, Chart):
        return block
    return block.image if block.image is not None and block.image.data else table_of(block)


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
    if part.get("type") == "Image":
        # https://learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages
        part = {**part, "url": ""}
    return utf16_units(json.dumps(part, ensure_ascii=False, separators=(",", ":")))


def _elements(block: Block, translate: Translator, room: _Room, name: str) -> Iterator[Json]:
    match block:
        case Chart():
            yield from _chart(block, translate, room)
        case Folded():
            yield from _folded(block, translate, room, name)
        case Text(text):
            paragraph = _text(render(text))
            if room.takes(paragraph):
                yield paragraph
        case Code():
            yield from _code(block, room)
        case Image(alternative_text=words, data=data):
            image: Json = {"type": "Image", "url": f"data:image/png;base64,{data}", "altText": one_line(words)}
            if room.takes(image):
                yield image
        case Table():
            yield from _heading(block.title, room)
            yield from _table(block, translate, room)
        case Facts(facts, title):
            yield from _heading(title, room)
            listed = [{"title": as_data(fact.label), "value": as_data(fact.value)} for fact in facts]
            fact_set: Json = {"type": "FactSet", "facts": []}
            if room.takes(fact_set):
                fact_set["facts"] = _fitting(listed, room)
                yield fact_set


def _chart(chart: Chart, translate: Translator, room: _Room) -> Iterator[Json]:
    """With the table for clients that draw no charts, or that table alone where a chart would draw other numbers."""
    table, element = table_of(chart), chart_element(chart, translate)
    if element is None or not room.takes({**element, "fallback": {}}):
        yield from _heading(chart.title, room)
        yield from _table(table, translate, room)
        return
    # Clients that draw no chart show no title of it either.
    fallback = [*_heading(chart.title, room), *_table(replace(table, source=None), translate, room)]
    element["fallback"] = fallback[0] if len(fallback) == 1 else {"type": "Container", "items": fallback}
    yield element
    if chart.source is not None and (address := link(chart.source)):
        source = _text(address, size="Small")
        if room.takes(source):
            yield source


def _folded(folded: Folded, translate: Translator, room: _Room, name: str) -> Iterator[Json]:
    """A button, and below it elements that it shows and hides: on the card itself, since nested ones are dropped."""
    toggle: Json = {
        "type": "Action.ToggleVisibility",
        "title": one_line(folded.title, _MAX_TOGGLE_CHARACTERS),
        "targetElements": [],
    }
    button: Json = {"type": "ActionSet", "actions": [toggle]}
    if not room.takes(button) or not room.takes({"id": "x" * _MAX_HIDDEN * (len(name) + 5)}):
        return
    hidden = [_hidden_as(f"{name}_{number}", each) for number, each in enumerate(_hidden(folded, translate, room))]
    if hidden:
        toggle["targetElements"] = [element["id"] for element in hidden]
        yield button
        yield from hidden


def _hidden_as(name: str, element: Json) -> Json:
    # A fallback takes the place of its element, and would stand there unfolded.
    fallback = {"fallback": _hidden_as(name, element["fallback"])} if "fallback" in element else {}
    return {**element, **fallback, "id": name, "isVisible": False}


def _hidden(folded: Folded, translate: Translator, room: _Room) -> Iterator[Json]:
    left = _MAX_HIDDEN
    for block in folded.blocks:
        for element in _elements(block, translate, room, ""):
            # Its id and its visibility, and those of its fallback.
            if left and room.takes({"id": "x" * 60, "isVisible": False}):
                left -= 1
                yield element


def _code(code: Code, room: _Room) -> Iterator[Json]:
    """https://adaptivecards.microsoft.com/?topic=CodeBlock, with the same in fixed width for clients without it."""
    yield from _heading(code.title, room)
    text = code.code.rstrip()
    run = {"type": "TextRun", "text": text, "fontType": "Monospace"}
    fallback: Json = {"type": "RichTextBlock", "inlines": [run]}
    drawn: Json = {
        "type": "CodeBlock",
        "codeSnippet": text,
        "language": _LANGUAGES.get(code.language.lower(), "PlainText"),
        "fallback": fallback,
    }
    if not room.takes(drawn):
        shorter = one_line(text, _MAX_SHORTENED_CODE)
        drawn = {"type": "RichTextBlock", "inlines": [{**run, "text": shorter}]}
        if not room.takes(drawn):
            return
    yield drawn


def _table(table: Table, translate: Translator, room: _Room) -> Iterator[Json]:
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
    rows = _fitting(
        [
            _row([cell_text(c, column, translate) for c, column in zip(row, columns, strict=False)], columns)
            for row in table.rows[:MAX_ROWS_SHOWN]
        ],
        room,
    )
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


def _width(column: Column, cells: Sequence[str]) -> int:
    """In shares of the table: by the characters of its longest cell, sentences not counted in full."""
    longest = max(len(column.name), *map(len, cells), 0)
    return _PADDING_CHARACTERS + min(max(longest, _MIN_COLUMN_CHARACTERS), _MAX_COLUMN_CHARACTERS)


def _row(cells: Sequence[str], columns: Sequence[Column], **run: str) -> Json:
    texts = [_cell(cell, column, **run) for cell, column in zip(cells, columns, strict=True)]
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
