"""Where Markdown may be cut: what is open at that point, how to close it there and open it again after it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum

from app.agent.events import interrupted
from app.bot.rendering.markdown_inline import (
    MAX_CODE_CHARACTERS,
    MAX_EMPHASIS_CHARACTERS,
    MAX_LABEL_CHARACTERS,
    OpenMarkup,
    open_markup,
)
from app.bot.rendering.markdown_lines import BLANKS, Fence, Kind, Line, fence_run, is_heading, read_lines
from app.bot.rendering.sanitize import sanitize

_MAX_REOPENING = 2_000
_LONE_RETURN = re.compile(r"\r(?!\n)")
# A last line of these alone may still become any kind of block.
_BLOCK_MARKS = "#*+-=_|:`~" + BLANKS
_NUMBER = re.compile(r"[0-9]{1,9}[.)]?")
_MAX_OPEN = {"[": MAX_LABEL_CHARACTERS, "`": MAX_CODE_CHARACTERS}
_TABLE = (Kind.TABLE_HEAD, Kind.TABLE_DELIMITER, Kind.TABLE_ROW)


class Cost(IntEnum):
    """How much a cut hurts the reader."""

    PARAGRAPH = 0
    LINE = 1
    TABLE_ROW = 2
    CODE_LINE = 3
    FENCE_LINE = 4
    FORBIDDEN = 9


@dataclass(frozen=True, slots=True)
class LineEnd:
    """A cut at `offset` needs `closing` at the end of the part before it, and `opening` before the part after it."""

    offset: int
    cost: Cost
    closing: str = ""
    opening: str = ""


def utf16_units(text: str) -> int:
    """The length as Teams counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def line_ends(text: str) -> Iterator[LineEnd]:
    """The end of every line, also of a last line without a newline."""
    head = rows = 0
    for line in read_lines(text):
        ended = text[line.end - 1 : line.end] == "\n"
        match line.kind:
            case Kind.BLANK:
                yield LineEnd(line.end, Cost.PARAGRAPH)
            case Kind.TEXT | Kind.FENCE_CLOSE:
                yield LineEnd(line.end, Cost.LINE)
            case Kind.FENCE_OPEN:
                yield _in_fence(line, Cost.FENCE_LINE, ended=ended)
            case Kind.CODE:
                yield _in_fence(line, Cost.CODE_LINE, ended=ended)
            case Kind.TABLE_HEAD:
                head = line.start
                yield LineEnd(line.end, Cost.FORBIDDEN)
            case Kind.TABLE_DELIMITER:
                rows = line.end
                yield LineEnd(line.end, Cost.FORBIDDEN)
            case Kind.TABLE_ROW:
                opening = text[head:rows] if ended and rows - head <= _MAX_REOPENING else ""
                yield LineEnd(line.end, Cost.TABLE_ROW if ended else Cost.FORBIDDEN, opening=opening)


def _in_fence(line: Line, cost: Cost, *, ended: bool) -> LineEnd:
    fence = line.fence
    assert fence is not None
    if fence.is_long:
        return LineEnd(line.end, cost)
    prefix = _goes_on(fence)
    first = fence.first_line[len(fence.prefix) :] if len(fence.first_line) <= _MAX_REOPENING else fence.marker
    closing = f"{'' if ended else chr(10)}{prefix}{fence.marker}"
    return LineEnd(line.end, cost, closing, f"{prefix}{first}\n")


def _goes_on(fence: Fence) -> str:
    """The prefix of a line in the same block quotes and the same list item as the code."""
    return "".join(character if character in "> \t" else " " for character in fence.prefix)


def end_of(text: str) -> LineEnd:
    """What a cut after the whole of `text` needs."""
    if not text:
        return LineEnd(0, Cost.PARAGRAPH)
    end = deque(line_ends(text), maxlen=1).pop()
    if end.cost not in (Cost.LINE, Cost.FORBIDDEN):
        return end
    markup = _markup_at_end(text, read_lines(text), ends=True)
    # Markup after a blank does not close anything.
    closing = f"…{markup.closing}" if markup.closing and text[-1].isspace() else markup.closing
    return LineEnd(end.offset, end.cost, closing, markup.opening)


def streamable_prefix(text: str) -> str:
    """The beginning of the model's `text` that will look the same whatever follows: no half link, nothing still open.

    Markup that has been open for long is included all the same.
    """
    return text[: _cut(text, ends=False)]


def closable(text: str) -> str:
    """`text`, whose end is missing, without what cannot be closed: half a link, half a tag, a table without rows.

    Never shorter than an earlier `streamable_prefix` of it.
    """
    return text[: _cut(text, ends=True)]


def render(text: str, image_hosts: AbstractSet[str] = frozenset()) -> str:
    """The model's `text` as it is sent. A `streamable_prefix` is rendered alike when more text follows."""
    return sanitize(_with_note(_without_lone_returns(text)), image_hosts)


def _with_note(text: str) -> str:
    """The note of an interruption stands outside of the code or the emphasis that is open at that point."""
    parts = interrupted(text)
    if parts is None:
        return text
    shown, note, rest = parts
    closing, opening = _around_note(shown, note)
    return f"{shown}{closing}{opening}{rest}" if rest else shown + closing


def _around_note(shown: str, note: str) -> tuple[str, str]:
    """What closes `shown`, followed by the note; and what opens the rest again."""
    end = end_of(shown)
    closed = shown + end.closing
    gap = "" if not closed else "\n" if closed.endswith("\n") else "\n\n"
    # The note stays in the list item that the code after it is in.
    indent = " " * (len(end.opening) - len(end.opening.lstrip(" ")))
    return f"{end.closing}{gap}{indent}{note}\n\n", end.opening


def _without_lone_returns(text: str) -> str:
    """With line feeds for carriage returns that stand alone, which end a line too. The length stays the same."""
    return _LONE_RETURN.sub("\n", text) if "\r" in text else text


def _cut(text: str, *, ends: bool) -> int:
    if text.endswith("\r"):
        text = text[:-1]
    text = _without_lone_returns(text)
    parts = interrupted(text)
    if parts is None:
        return _cut_plain(text, ends=ends)
    shown, note, rest = parts
    opening = _around_note(shown, note)[1]
    return len(text) - len(rest) + max(_cut_plain(opening + rest, ends=ends) - len(opening), 0)


def _cut_plain(text: str, *, ends: bool) -> int:
    lines = read_lines(text)
    if not lines:
        return 0
    last, seen = lines[-1], len(text)
    ended = text.endswith("\n")
    if last.fence is not None and not (ended and last.kind is Kind.FENCE_CLOSE):
        if last.kind is Kind.FENCE_OPEN and not ended:
            # More backticks in its line would mean that it opens no code.
            return _cut_above(text, lines[:-1], seen, ends=ends)
        return _cut_in_code(lines, last.fence, ended=ended, ends=ends)
    above = lines[-2] if len(lines) > 1 else last
    if last.kind is Kind.BLANK and not ended and above.fence is not None and above.kind is not Kind.FENCE_CLOSE:
        # What follows the blanks may still be a line of the quote or list item, and of the code in it.
        return _cut_in_code(lines[:-1], above.fence, ended=True, ends=ends)
    if last.kind is Kind.BLANK:
        shown = -2 if not ended and _may_be_table_head(lines[:-1]) else -1
        return len(text) if ended else _cut_above(text, lines[:shown], seen, ends=ends)
    if last.kind in _TABLE:
        return _cut_in_table(text, lines, seen, ended=ended, ends=ends)
    kept = lines[: len(lines) - _held_lines(lines, ended=ended, ends=ends)]
    if len(kept) == len(lines):
        return _cut_in_text(text, lines, seen, ends=ends)
    return _cut_above(text, kept, seen, ends=ends)


def _cut_above(text: str, lines: Sequence[Line], seen: int, *, ends: bool) -> int:
    """The cut where everything below `lines` is held back, up to `seen`."""
    if not lines:
        return 0
    last = lines[-1]
    if last.kind in (Kind.TABLE_HEAD, Kind.TABLE_DELIMITER):
        return _cut_in_table(text, lines, seen, ended=True, ends=ends)
    # Markup never goes on below a heading.
    if last.kind is not Kind.TEXT or is_heading(last):
        return last.end
    return _cut_in_text(text[: last.end], lines, seen, ends=ends)


def _cut_in_code(lines: Sequence[Line], fence: Fence, *, ended: bool, ends: bool) -> int:
    last = lines[-1]
    half = not ended and (not ends or not last.body.strip(BLANKS + ">" + fence.marker[0]))
    whole = len(lines) - 1 if half else len(lines)
    code = (line for line in reversed(lines[:whole]) if line.fence is fence and line.kind is not Kind.FENCE_OPEN)
    if not any(line.body.strip(BLANKS + ">") for line in code):
        return fence.start
    return last.start if half else last.end


def _cut_in_table(text: str, lines: Sequence[Line], seen: int, *, ended: bool, ends: bool) -> int:
    last = lines[-1]
    if last.kind is Kind.TABLE_ROW:
        whole = ended or (ends and last.body.rstrip().endswith("|") and last.body.strip(BLANKS + "|"))
        if whole:
            return last.end
        if lines[-2].kind is Kind.TABLE_ROW:
            return last.start
    above = [*lines]
    while above[-1].kind is not Kind.TABLE_HEAD:
        above.pop()
    head = above[-1]
    # With more text in the line below it may turn out to be no table, and markup that is open above it may go on.
    # Another table right above it has ended.
    after_table = len(above) > 1 and above[-2].kind in _TABLE
    before = head.start if after_table else _cut_above(text, above[:-1], seen, ends=ends)
    if before < head.start or head.body.startswith("|", head.content):
        return before
    return _cut_in_text(text[: head.end], above, seen, ends=ends)


def _held_lines(lines: Sequence[Line], *, ended: bool, ends: bool) -> int:
    """How many lines at the end of a text may become another kind of block, depending on what follows."""
    last = lines[-1]
    content = last.body[last.content :]
    only_marks = not ended and not content.strip(_BLOCK_MARKS)
    if only_marks and not last.body.strip("|:->" + BLANKS) and _may_be_table_head(lines[:-1]):
        return 2
    half_number = not ended and not ends and _NUMBER.fullmatch(content)
    return 1 if only_marks or half_number or content.startswith("|") else 0


def _may_be_table_head(lines: Sequence[Line]) -> bool:
    return bool(lines) and lines[-1].kind is Kind.TEXT and lines[-1].body.startswith("|", lines[-1].content)


def _cut_in_text(text: str, lines: Sequence[Line], seen: int, *, ends: bool) -> int:
    """`seen` is the length of all that there is, also below `text`: what has been open for long was shown."""
    markup = _markup_at_end(text, lines, ends=ends)
    held = [len(text) if markup.undecided is None else markup.undecided]
    held += [
        opener.at
        for opener in markup.openers
        if seen - opener.at <= _MAX_OPEN.get(opener.mark, MAX_EMPHASIS_CHARACTERS) and (not ends or opener.mark == "[")
    ]
    cut = min(held)
    # What follows decides whether these begin a tag or an image.
    if cut < len(text) and text.endswith("!", 0, cut):
        cut = len(text[:cut].rstrip("!\\"))
    if text.endswith("<", 0, cut):
        cut -= len("\\<" if text.endswith("\\<", 0, cut) else "<")
    line = next((line for line in reversed(lines) if line.start <= cut), lines[0])
    # Without what follows, the line would open code.
    opens = fence_run(text[line.start : cut], line.content) and not fence_run(line.body, line.content)
    # Code above has been shown, whatever it looks like to a reader for whom it is none.
    after_code = next((line.end for line in reversed(lines) if line.fence is not None), 0)
    return max(line.start + line.content if opens else cut, after_code)


def _markup_at_end(text: str, lines: Sequence[Line], *, ends: bool) -> OpenMarkup:
    first = next((line for line in reversed(lines) if line.starts_block), lines[0])
    return open_markup(text, first.start + first.content, ends=ends)
