"""The block structure of Markdown, line by line: code blocks, tables, lists; and what every reader takes for code.

https://spec.commonmark.org/0.31.2/ and https://github.github.com/gfm/#tables-extension-
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

_PREFIX = re.compile(r"(?:[ \t]|>|(?:[-*+]|[0-9]{1,9}[.)])(?=[ \t\r]|$))*")
_QUOTE = re.compile(r" {0,3}>")
_FENCE_RUN = re.compile(r"(`{3,}|~{3,})(.*)", re.DOTALL)
_DELIMITER_CELL = re.compile(r":?-+:?")
_HEADING = re.compile(r"#{1,6}(?=[ \t\r]|$)")
BLANKS = " \t\r"
_MAX_QUOTE_DEPTH = 8
# In columns: what is indented by more is indented code.
_MAX_INDENT = 3
_MAX_FENCE_CHARACTERS = 200


class Kind(Enum):
    BLANK = "blank"
    TEXT = "text"
    TABLE_HEAD = "table head"
    TABLE_DELIMITER = "table delimiter"
    TABLE_ROW = "table row"
    FENCE_OPEN = "fence open"
    CODE = "code"
    FENCE_CLOSE = "fence close"


@dataclass(frozen=True, slots=True)
class Fence:
    """`indent` in columns, inside of `quotes` block quotes; `container` is where its list item begins, if known.

    `loose`: no list item can hold it, so that its lines may be indented less.
    """

    marker: str
    first_line: str
    prefix: str
    indent: int
    quotes: int
    container: int
    loose: bool
    start: int

    @property
    def is_long(self) -> bool:
        """Whether it takes too much room to be repeated in every part of an answer."""
        return len(self.prefix) + len(self.marker) > _MAX_FENCE_CHARACTERS


class Line(NamedTuple):
    """`body` is the line without its end, which is at `end` of the text; its content begins at `body[content]`.

    `starts_block`: inline markup of the line before ends there. `cells`: it may be a row of a table. `literal`: every
    reader of CommonMark takes it for code. `fence` is the code block that the line opens, is in, or closes.
    """

    start: int
    end: int
    body: str
    content: int
    kind: Kind
    starts_block: bool = True
    cells: bool = False
    literal: bool = False
    fence: Fence | None = None


def read_lines(text: str) -> list[Line]:
    """Every line of `text`, also a last line without a line end."""
    return list(_Reader().lines(text))


def is_delimiter_row(body: str) -> bool:
    cells = body.strip(BLANKS + ">").removeprefix("|").removesuffix("|").split("|")
    return all(_DELIMITER_CELL.fullmatch(cell.strip(BLANKS)) for cell in cells)


def is_heading(line: Line) -> bool:
    """Whether it is one by its marks."""
    return _HEADING.match(line.body, line.content) is not None


def fence_run(body: str, content: int) -> re.Match[str] | None:
    """The fence and the rest of a line that opens code. After a fence of backticks no other backtick may follow."""
    run = _FENCE_RUN.match(body, content)
    return None if run is None or (run[1][0] == "`" and "`" in run[2]) else run


class _Reader:
    def __init__(self) -> None:
        self._fence: Fence | None = None
        # Set where readers of Markdown disagree: some may take for text what follows as code.
        self._doubt = False
        self._in_list = False
        self._item_columns: list[int] = []
        self._after_blank = True
        self._after_heading = False
        # A reader may find cells until a blank line; the rows of the table may end before that, with another block.
        self._in_table = False
        self._in_rows = False
        self._after_head = False

    def lines(self, text: str) -> Iterator[Line]:
        bodies = text.split("\n")
        start = 0
        for number, body in enumerate(bodies):
            last = number == len(bodies) - 1
            if last and not body:
                return
            end = start + len(body) + (not last)
            following = "" if last else bodies[number + 1]
            yield self._in_code(start, end, body) or self._outside(start, end, body, following)
            start = end

    def _in_code(self, start: int, end: int, body: str) -> Line | None:
        fence = self._fence
        if fence is None:
            return None
        inside = _inside(body, fence.quotes)
        run = "" if inside is None else inside.strip(BLANKS)
        indent = _indent(inside or "")
        if inside is None or not (fence.loose or not run or indent >= fence.indent):
            # The list item or the quote has ended, and the code with it.
            self._fence, self._doubt = None, True
            return None
        kind = Kind.CODE
        if len(run) >= len(fence.marker) and run == fence.marker[0] * len(run):
            if indent == fence.indent or indent <= fence.container + _MAX_INDENT:
                kind = Kind.FENCE_CLOSE
                self._fence, self._after_blank = None, False
            else:
                self._doubt = self._doubt or not fence.loose
        return Line(start, end, body, 0, kind, literal=not self._doubt, fence=fence)

    def _outside(self, start: int, end: int, body: str, following: str) -> Line:
        if "|" not in body and not self._in_table and body[:1].isalpha():
            begins = self._after_blank or self._after_heading
            if self._after_blank:
                self._in_list, self._item_columns = False, []
            self._after_blank = self._after_heading = False
            return Line(start, end, body, 0, Kind.TEXT, begins)
        prefix = _PREFIX.match(body)
        content = prefix.end() if prefix else 0
        if content >= len(body.rstrip("\r")) and not body.strip(BLANKS + ">"):
            self._after_blank, self._in_table, self._after_heading = True, False, False
            return Line(start, end, body, content, Kind.BLANK)
        marker = body[:content].strip(BLANKS + ">")
        heading = _HEADING.match(body, content) is not None
        self._follow_lists(body, body[:content], marker, heading=heading)
        fence = self._opened(start, body, content, marker)
        begins = self._after_blank or self._after_heading or heading or bool(marker)
        self._after_blank, self._after_heading = False, heading
        if fence is not None:
            self._fence, self._in_table = fence, False
            return Line(start, end, body, content, Kind.FENCE_OPEN, literal=not self._doubt, fence=fence)
        kind = self._kind(body, following, starts_other=heading or bool(marker))
        # Only the next line shows whether this one is the head of a table, unless it begins with a bar.
        cells = (self._in_table and kind is not Kind.TABLE_HEAD) or body.startswith("|", content)
        return Line(start, end, body, content, kind, begins or kind is not Kind.TEXT, cells)

    def _kind(self, body: str, following: str, *, starts_other: bool) -> Kind:
        if self._after_head:
            self._after_head = False
            return Kind.TABLE_DELIMITER
        self._in_rows = self._in_rows and self._in_table and not starts_other
        if self._in_rows:
            return Kind.TABLE_ROW
        if "|" in body and "|" in following and is_delimiter_row(following):
            self._in_table = self._in_rows = self._after_head = True
            return Kind.TABLE_HEAD
        return Kind.TEXT

    def _follow_lists(self, body: str, prefix: str, marker: str, *, heading: bool) -> None:
        indent = _indent(body)
        if marker:
            self._in_list = True
            self._item_columns = [column for column in self._item_columns if column <= indent]
            outer = self._item_columns[-1] if self._item_columns else 0
            if ">" not in prefix and indent - outer <= _MAX_INDENT:
                self._item_columns.append(_item_column(prefix, indent, marker.split()[0]))
        elif indent == 0 and (self._after_blank or heading or body.startswith(">")):
            self._in_list = False
            self._item_columns = []
        elif self._after_blank:
            self._item_columns = [column for column in self._item_columns if column <= indent]

    def _opened(self, start: int, body: str, content: int, marker: str) -> Fence | None:
        run = fence_run(body, content)
        if run is None:
            return None
        prefix = body[:content]
        quotes = prefix.count(">")
        inside = _inside(body, min(quotes, _MAX_QUOTE_DEPTH))
        indent = _indent(body if inside is None else inside)
        loose = not self._in_list
        container = 0
        if marker:
            indent = container = len(prefix.expandtabs(4))
            certain = not quotes and _indent(body) <= _MAX_INDENT and marker in ("-", "*", "+", "1.", "1)")
        elif quotes:
            certain = loose and quotes <= _MAX_QUOTE_DEPTH and inside is not None and indent <= _MAX_INDENT
        elif indent > _MAX_INDENT:
            if loose:
                # It is indented code, or belongs to the paragraph before it.
                return None
            container = max((column for column in self._item_columns if column <= indent), default=0)
            certain = indent - container <= _MAX_INDENT
        else:
            certain = True
        opened = Fence(run[1], body, prefix, indent, quotes, container, loose, start)
        # Some readers take it for the head of a table.
        self._doubt = self._doubt or not certain or "|" in body or opened.is_long
        return opened


def _inside(body: str, quotes: int) -> str | None:
    """The rest of the line after the marks of `quotes` block quotes; None if it has fewer."""
    for _ in range(quotes):
        quote = _QUOTE.match(body)
        if quote is None:
            return None
        body = body[quote.end() :].removeprefix(" ")
    return body


def _indent(body: str) -> int:
    blanks = body[: len(body) - len(body.lstrip(" \t"))]
    return len(blanks.expandtabs(4))


def _item_column(prefix: str, indent: int, marker: str) -> int:
    after = prefix.expandtabs(4)[indent + len(marker) :]
    spaces = len(after) - len(after.lstrip(" "))
    return indent + len(marker) + (spaces if 1 <= spaces <= 4 else 1)
