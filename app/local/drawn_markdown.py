"""Markdown as lines of a terminal. Imported only where something is drawn: rich takes a tenth of a second."""

from __future__ import annotations

import io
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.cells import chop_cells
from rich.console import Console, JustifyMethod
from rich.markdown import Heading, Markdown


class _LeftHeading(Heading):
    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = {}


class _Answer(Markdown):
    elements = {**Markdown.elements, "heading_open": _LeftHeading}  # noqa: RUF012 - as rich has it


def lines_of(text: str, columns: int, *, colours: bool = True) -> list[str]:
    """`text` has to be printable. No line is wider than `columns`; each ends in the plain style."""
    drawn = io.StringIO()
    console = Console(
        file=drawn,
        width=columns,
        force_terminal=True,
        legacy_windows=False,
        color_system="standard",
        no_color=not colours,
        highlight=False,
    )
    # The target of a link stays readable, and the theme uses the terminal's own colours.
    answer = _Answer(text, code_theme="ansi_dark", hyperlinks=False)
    # As in Teams: what looks like HTML is text.
    answer.parsed = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).parse(text)
    try:
        console.print(answer)
    except Exception:  # rich fails on some nestings: then the text is shown as it is
        return [piece for line in text.split("\n") for piece in chop_cells(line, columns) or [""]]
    return [line.rstrip() for line in drawn.getvalue().strip("\n").rstrip().split("\n")]
