"""Blocks as one Adaptive Card. Pure.

https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference: version 1.5 at most.
Cards are flat, since Microsoft 365 Copilot drops what is nested. Data stands in text runs, which know no Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.bot.channel import CARD_KINDS, CARD_LIMIT_UTF16
from app.bot.rendering.block_markdown import link
from app.bot.rendering.block_text import (
    MAX_ROWS_SHOWN,
    distinct,
    next_rows,
    of_kinds,
    plain_text,
    table_of,
)
from app.bot.rendering.card_chart import chart_element
from app.bot.rendering.card_elements import NOTHING, Json, Room, action_element, fitting, heading, size_of, text_block
from app.bot.rendering.card_forms import form_elements
from app.bot.rendering.card_table import table_elements
from app.bot.rendering.markdown import render
from app.content.block_limits import MAX_IMAGE_CHARACTERS
from app.content.blocks import (
    FIRST_ROW,
    Action,
    Actions,
    Block,
    Chart,
    Code,
    Facts,
    Folded,
    Forms,
    Image,
    Page,
    Table,
    Text,
)
from app.content.data_text import as_data, in_its_order, one_line
from app.translation import Translator

CONTENT_TYPE = "application/vnd.microsoft.card.adaptive"
_FALLBACK_LIMIT = 1_000
# Of a card's size. A chart is drawn whole or not at all, and buttons have their room beforehand.
_SHARES = {"chart": 8, "table": 4, "actions": 0}
_MAX_ACTIONS = 6
_MAX_TOGGLE_CHARACTERS = 60
_MAX_HIDDEN = 12
_MAX_SHORTENED_CODE = 500
# Of those that CodeBlock knows.
_LANGUAGES = {"sql": "Sql", "python": "Python", "py": "Python", "json": "Json"}
# More than this many columns need the whole width of the chat.
_NARROW = 3


def attachment(card: Json) -> Json:
    return {"contentType": CONTENT_TYPE, "content": card}


def adaptive_card(
    blocks: Sequence[Block],
    translate: Translator,
    limit: int = CARD_LIMIT_UTF16,
    *,
    draws_charts: bool = True,
    image_limit: int = MAX_IMAGE_CHARACTERS,
) -> Json | None:
    """A card of at most `limit` UTF-16 code units, images in it not counted, with the blocks that a card can
    show; None if there are none. All its images have at most `image_limit` characters of base64.

    Rows and facts that do not fit are left out, and the card says so of rows.
    """
    drawn = list(_images_within(image_limit, of_kinds(blocks, CARD_KINDS)))
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
    pages = [
        action_element(_longest_next_rows(block.page), "") for block in drawn if isinstance(block, Table) and block.page
    ]
    others = [
        action_element(action, block.id) for block in drawn if isinstance(block, Actions) for action in block.actions
    ]
    # Room for them: with which row the next page begins is known when the table is drawn.
    if actions := _told_apart([*pages, *others], limit * 2 // 3):
        card["actions"] = actions
    if any(isinstance(block, Chart) or (isinstance(block, Table) and len(block.columns) > _NARROW) for block in drawn):
        card["msteams"] = {"width": "full"}
    left = limit - size_of(card)
    pages.clear()
    for number, block in enumerate(drawn):
        # A share for each, so that the first table leaves room for the others.
        shares = [_SHARES.get(each.kind, 1) for each in drawn[number:]]
        room = Room(left * shares[0] // max(sum(shares), 1))
        if isinstance(block, Chart):
            elements = list(_chart(block, translate, room, is_drawn=draws_charts))
        else:
            elements = list(_elements(block, translate, room, f"folded{number}"))
        left -= sum(size_of(element) + 1 for element in elements)
        card["body"] += elements
        if isinstance(block, Table) and (following := next_rows(block, _rows_shown(elements))) is not None:
            pages.append(action_element(following, ""))
    card.pop("actions", None)
    if actions := _told_apart([*pages, *others], sum(size_of(action) + 1 for action in actions)):
        card["actions"] = actions
    return card


def _longest_next_rows(page: Page) -> Action:
    return replace(page.next_rows, data={**page.next_rows.data, FIRST_ROW: str(page.first_row + MAX_ROWS_SHOWN)})


def _told_apart(actions: Sequence[Json], units: int) -> list[Json]:
    """Those that fit. Two results have the same buttons."""
    kept = actions[:_MAX_ACTIONS]
    titles = distinct([action["title"] for action in kept])
    return fitting([{**action, "title": title} for action, title in zip(kept, titles, strict=True)], Room(units))


def _images_within(characters: int, blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Chart) and block.image is not None:
            if len(block.image.data) > characters:
                yield replace(block, image=None)
                continue
            characters -= len(block.image.data)
        yield block


def _rows_shown(elements: Sequence[Json]) -> int:
    return sum(len(element["rows"]) - 1 for element in elements if element["type"] == "Table")


def _elements(block: Block, translate: Translator, room: Room, name: str) -> Iterator[Json]:
    match block:
        case Folded():
            yield from _folded(block, translate, room, name)
        case Forms():
            yield from form_elements(block, room, name)
        case Text(text):
            paragraph = text_block(render(text))
            if paragraph["text"].strip() and room.takes(paragraph):
                yield paragraph
        case Code():
            yield from _code(block, room)
        case Image():
            image = _image(block)
            if room.takes(image):
                yield image
        case Table():
            yield from heading(block.title, room)
            yield from table_elements(block, translate, room)
        case Facts(facts, title):
            yield from heading(title, room)
            listed = [
                {"title": as_data(fact.label) or NOTHING, "value": as_data(fact.value) or NOTHING} for fact in facts
            ]
            fact_set: Json = {"type": "FactSet", "facts": []}
            if room.takes(fact_set) and (fitting_facts := fitting(listed, room)):
                yield {**fact_set, "facts": fitting_facts}


def _chart(chart: Chart, translate: Translator, room: Room, *, is_drawn: bool) -> Iterator[Json]:
    """With the table for clients that draw no charts, or that table alone where a chart would draw other numbers."""
    table = table_of(chart)
    element = chart_element(chart, translate) if is_drawn else None
    if element is None or not room.takes({**element, "fallback": {}}):
        yield from heading(chart.title, room)
        if not is_drawn and chart.image and chart.image.data and room.takes(image := _image(chart.image)):
            yield image
        elif not chart.beside_table:
            yield from table_elements(table, translate, room)
        return
    # Clients that draw no chart show no title of it either.
    fallback = [*heading(chart.title, room)]
    if not chart.beside_table:
        fallback += table_elements(replace(table, source=None), translate, room)
    container = {"type": "Container", "items": fallback}
    element["fallback"] = container if len(fallback) > 1 else fallback[0] if fallback else "drop"
    yield element
    if chart.source is not None and (address := link(chart.source)):
        source = text_block(address, size="Small")
        if room.takes(source):
            yield source


def _image(image: Image) -> Json:
    url = f"data:image/png;base64,{image.data}"
    return {"type": "Image", "url": url, "altText": one_line(image.alternative_text)}


def _folded(folded: Folded, translate: Translator, room: Room, name: str) -> Iterator[Json]:
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


def _hidden(folded: Folded, translate: Translator, room: Room) -> Iterator[Json]:
    left = _MAX_HIDDEN
    for block in folded.blocks:
        for element in _elements(block, translate, room, ""):
            # Its id and its visibility, and those of its fallback.
            if left and room.takes({"id": "x" * 60, "isVisible": False}):
                left -= 1
                yield element


def _code(code: Code, room: Room) -> Iterator[Json]:
    """https://adaptivecards.microsoft.com/?topic=CodeBlock, with the same in fixed width for clients without it."""
    yield from heading(code.title, room)
    text = in_its_order(code.code.rstrip())
    if not text.strip():
        return
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
