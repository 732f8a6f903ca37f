"""Blocks as Markdown. Pure. What stands in data is shown as it is: it becomes no link, no image and no other column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from urllib.parse import quote

from app.bot.rendering.block_text import (
    MAX_COLUMNS_SHOWN,
    MAX_ROWS_SHOWN,
    cell_text,
    left_out,
    no_buttons,
    table_of,
    web_address,
)
from app.bot.rendering.markdown import closable, end_of, render
from app.content.blocks import Actions, Block, Chart, Code, ColumnType, Facts, Folded, Forms, Image, Link, Table, Text
from app.content.citation import Citation
from app.content.data_text import as_data, in_its_order, one_line
from app.translation import Translator

_AT_LINE_START = re.compile(r"[-+=]|[0-9]{1,9}(?=[.)])")
_BACKTICKS = re.compile(r"`+")
# What `render` may show as an image has a label of these alone.
_NOT_IN_A_LABEL = re.compile(r"[^\w .,:;()/-]")
_NOT_IN_A_LANGUAGE = re.compile(r"[^\w+#.-]", re.ASCII)
_URL_SAFE = "%/:=&?#+!$,;@.-~'*"


def markdown(block: Block, translate: Translator, image_hosts: AbstractSet[str] = frozenset()) -> str:
    """Whole Markdown that loads nothing: images are shown where they come from `image_hosts`, and else are links."""
    text = "\n\n".join(_paragraphs(block, translate))
    return render(text, image_hosts)


def _paragraphs(block: Block, translate: Translator) -> Iterator[str]:
    match block:
        case Text(text):
            text = closable(text)
            yield text + end_of(text).closing
        case Table():
            yield from _table(block, translate)
        case Chart():
            yield from _heading(block.title) if block.beside_table else _table(table_of(block), translate)
        case Code(code, language, title):
            code = in_its_order(code)
            yield from _heading(title)
            fence = "`" * max(3, 1 + max((len(run[0]) for run in _BACKTICKS.finditer(code)), default=0))
            yield f"{fence}{_NOT_IN_A_LANGUAGE.sub('', language)[:30]}\n{code.rstrip()}\n{fence}"
        case Facts(facts, title):
            yield from _heading(title)
            yield "\n".join(f"- {_starting_a_line(fact.label)}: {as_data(fact.value)}" for fact in facts)
        case Folded(title, blocks):
            yield from _heading(title)
            for each in blocks:
                yield from _paragraphs(each, translate)
        case Image(url, alternative_text):
            label = one_line(_NOT_IN_A_LABEL.sub(" ", alternative_text))
            yield f"![{label}]({_escaped_url(url)})" if web_address(url) else as_data(alternative_text)
        case Citation(position, title, url):
            yield f"\\[{position}\\] {link(Link(title, url or ''))}"
        case Actions() | Forms():
            yield f"*({as_data(no_buttons(block, translate))})*"


def _table(table: Table, translate: Translator) -> Iterator[str]:
    yield from _heading(table.title)
    columns, rows = table.columns[:MAX_COLUMNS_SHOWN], table.rows[:MAX_ROWS_SHOWN]
    lines = [
        [as_data(column.name) for column in columns],
        ["--:" if column.type is ColumnType.NUMBER else "---" for column in columns],
        *(
            [as_data(cell_text(cell, column, translate)) for cell, column in zip(row, columns, strict=False)]
            for row in rows
        ),
    ]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = left_out(table, len(rows), translate)
    if table.source is not None:
        notes.append(link(table.source))
    if notes:
        yield " ".join(notes)


def _heading(title: str) -> Iterator[str]:
    if title.strip():
        yield f"**{as_data(title)}**"


def _starting_a_line(text: str) -> str:
    text = as_data(text)
    return _AT_LINE_START.sub(_escaped_start, text, count=1) if _AT_LINE_START.match(text) else text


def _escaped_start(start: re.Match[str]) -> str:
    return f"{start[0]}\\" if start[0].isdecimal() else f"\\{start[0]}"


def link(source: Link) -> str:
    """The title alone where the address is no https URL."""
    title, url = as_data(source.title), web_address(source.url)
    return f"[{title or as_data(url)}]({_escaped_url(url)})" if url else title


def _escaped_url(url: str) -> str:
    return quote(url, safe=_URL_SAFE)
