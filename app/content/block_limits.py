"""Cuts a block to a size that can be saved and sent. Pure, and linear in what is kept."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.common.text import replace_lone_surrogates
from app.content.blocks import (
    Action,
    Actions,
    Block,
    Cell,
    Chart,
    Choice,
    Code,
    Fact,
    Facts,
    Folded,
    FoldedBlock,
    Form,
    Forms,
    Image,
    Input,
    Link,
    Point,
    Series,
    Table,
    Text,
)
from app.content.citation import Citation

MAX_COLUMNS = 30
MAX_ROWS = 200
MAX_SERIES = 12
MAX_POINTS = 500
"""Of all series of a chart together."""
MAX_FACTS = 50
MAX_FOLDED_BLOCKS = 4
MAX_ACTIONS = 6
MAX_ACTION_FIELDS = 5
MAX_FORMS = 4
MAX_INPUTS = 10
MAX_CHOICES = 10
# In characters.
MAX_LABEL_CHARACTERS = 200
MAX_ACTION_TEXT = 100
"""Of the verb, the title, and each name and value of the data: all actions of a message have to fit on one card."""
MAX_CELL_CHARACTERS = 500
MAX_TABLE_CHARACTERS = 20_000
"""Of all cells of a table together."""
MAX_TEXT_CHARACTERS = 20_000
MAX_URL_CHARACTERS = 2_000
# https://learn.microsoft.com/microsoftteams/platform/bots/how-to/format-your-bot-messages: of a picture in a message.
MAX_IMAGE_BYTES = 1024 * 1024
MAX_IMAGE_PIXELS = 1024
"""In width and in height."""
MAX_IMAGE_CHARACTERS = (MAX_IMAGE_BYTES + 2) // 3 * 4
"""Of base64."""
_PNG_HEADER = re.compile(rb"\x89PNG\r\n\x1a\n.{4}IHDR(.{4})(.{4})", re.DOTALL)
_PNG_HEADER_BASE64_CHARACTERS = 32
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")


def within_limits(block: Block) -> Block:
    """The block cut to the limits above, without lone surrogates. A table keeps the total of its rows."""
    match block:
        case Text(text):
            return Text(_cut(text, MAX_TEXT_CHARACTERS))
        case Table():
            return _table(block)
        case Chart():
            return _chart(block)
        case Code(code, language, title):
            return Code(
                _cut(code, MAX_TEXT_CHARACTERS), _cut(language, MAX_LABEL_CHARACTERS), _cut(title, MAX_LABEL_CHARACTERS)
            )
        case Facts(facts, title):
            kept = [
                Fact(_cut(fact.label, MAX_LABEL_CHARACTERS), _cut(fact.value, MAX_CELL_CHARACTERS))
                for fact in facts[:MAX_FACTS]
            ]
            return Facts(tuple(kept), _cut(title, MAX_LABEL_CHARACTERS))
        case Image():
            return _image(block)
        case Citation(position, title, url, quote):
            return Citation(
                position,
                _cut(title, MAX_LABEL_CHARACTERS),
                _cut_url(url or "") or None,
                _cut(quote, MAX_CELL_CHARACTERS),
            )
        case Actions(actions, decision_id):
            return Actions(
                tuple(_action(action) for action in actions[:MAX_ACTIONS]), _cut(decision_id, MAX_LABEL_CHARACTERS)
            )
        case Forms():
            return _forms(block)
        case Folded(title, blocks):
            return Folded(_cut(title, MAX_LABEL_CHARACTERS), tuple(_folded(blocks)))


def _folded(blocks: Sequence[FoldedBlock]) -> Iterator[FoldedBlock]:
    for each in blocks[:MAX_FOLDED_BLOCKS]:
        if isinstance(cut := within_limits(each), FoldedBlock):
            yield cut


def _table(table: Table) -> Table:
    columns = [replace(column, name=_cut(column.name, MAX_LABEL_CHARACTERS)) for column in table.columns[:MAX_COLUMNS]]
    rows = tuple(_rows(table.rows, len(columns)))
    complete = len(rows) == len(table.rows)
    page = table.page and replace(table.page, next_rows=_action(table.page.next_rows))
    before = page.first_row if page else 0
    total = table.total_rows if table.total_rows is not None or complete else before + len(table.rows)
    if page and not complete:
        page = replace(page, is_last=False)
    return Table(tuple(columns), rows, total, _cut(table.title, MAX_LABEL_CHARACTERS), _link(table.source), page)


def _rows(rows: Sequence[Sequence[Cell]], width: int) -> Iterator[tuple[Cell, ...]]:
    left = MAX_TABLE_CHARACTERS
    for row in rows[:MAX_ROWS]:
        cells = tuple(_cell(cell) for cell in row[:width])
        left -= sum(len(cell) if isinstance(cell, str) else 1 for cell in cells)
        if left < 0:
            return
        yield cells


def _cell(cell: Cell) -> Cell:
    if isinstance(cell, int) and not isinstance(cell, bool) and cell.bit_length() > 256:
        # Longer than a number of any database, and than JSON readers take.
        return "…"
    return _cut(cell, MAX_CELL_CHARACTERS) if isinstance(cell, str) else cell


def _chart(chart: Chart) -> Chart:
    series: list[Series] = []
    left = MAX_POINTS
    for each in chart.series[:MAX_SERIES]:
        points = tuple(_point(point) for point in each.points[:left])
        left -= len(points)
        series.append(Series(_cut(each.name, MAX_LABEL_CHARACTERS), points))
    x_axis, y_axis = _cut(chart.x_axis, MAX_LABEL_CHARACTERS), _cut(chart.y_axis, MAX_LABEL_CHARACTERS)
    title, image = _cut(chart.title, MAX_LABEL_CHARACTERS), chart.image and _image(chart.image)
    source = _link(chart.source)
    return replace(chart, series=tuple(series), title=title, x_axis=x_axis, y_axis=y_axis, source=source, image=image)


def _point(point: Point) -> Point:
    return replace(point, label=_cut(point.label, MAX_LABEL_CHARACTERS), exact=_cut(point.exact, MAX_LABEL_CHARACTERS))


def _image(image: Image) -> Image:
    data = image.data
    # Half an image, or what is no PNG, shows nothing.
    if len(data) > MAX_IMAGE_CHARACTERS or _NOT_BASE64.search(data) or not _is_small_png(data):
        data = ""
    return Image(_cut_url(image.url), _cut(image.alternative_text, MAX_CELL_CHARACTERS), data)


def _is_small_png(base64: str) -> bool:
    try:
        header = _PNG_HEADER.fullmatch(a2b_base64(base64[:_PNG_HEADER_BASE64_CHARACTERS]))
    except ValueError:
        return False
    return header is not None and all(0 < int.from_bytes(side) <= MAX_IMAGE_PIXELS for side in header.groups())


def _action(action: Action) -> Action:
    fields = list(action.data.items())[:MAX_ACTION_FIELDS]
    data = {_cut(name, MAX_ACTION_TEXT): _cut(value, MAX_ACTION_TEXT) for name, value in fields}
    return Action(_cut(action.verb, MAX_ACTION_TEXT), _cut(action.title, MAX_ACTION_TEXT), data, action.style)


def _forms(block: Forms) -> Forms:
    names: set[str] = set()
    kept = []
    for form in block.forms[:MAX_FORMS]:
        inputs = [each for each in map(_input, form.inputs[:MAX_INPUTS]) if each.name not in names]
        inputs = list({each.name: each for each in inputs}.values())
        names |= {each.name for each in inputs}
        title, id = _cut(form.title, MAX_ACTION_TEXT), _cut(form.id, MAX_LABEL_CHARACTERS)
        kept.append(Form(title, tuple(inputs), _action(form.action), id))
    return Forms(tuple(kept))


def _input(shown: Input) -> Input:
    choices = [
        Choice(_cut(each.value, MAX_ACTION_TEXT), _cut(each.title, MAX_ACTION_TEXT))
        for each in shown.choices[:MAX_CHOICES]
    ]
    name, label = _cut(shown.name, MAX_ACTION_TEXT), _cut(shown.label, MAX_LABEL_CHARACTERS)
    return Input(name, label, _cut(shown.value, MAX_CELL_CHARACTERS), tuple(choices))


def _link(link: Link | None) -> Link | None:
    # Half an address opens something else.
    return Link(_cut(link.title, MAX_LABEL_CHARACTERS), link.url) if link and _cut_url(link.url) else None


def _cut_url(url: str) -> str:
    return url if len(url) <= MAX_URL_CHARACTERS and url.isprintable() else ""


def _cut(text: str, most: int) -> str:
    if len(text) > most:
        text = text[: most - 1] + "…"
    return replace_lone_surrogates(text)
