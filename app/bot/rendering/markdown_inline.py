"""Inline Markdown: what is open at the end of a text.

https://spec.commonmark.org/0.31.2/#inlines
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field

# In characters. What is open for longer counts as plain text, so that nothing is held back for ever.
MAX_EMPHASIS_CHARACTERS = 200
MAX_CODE_CHARACTERS = 300
MAX_LABEL_CHARACTERS = 200
MAX_LINK_CHARACTERS = 2_500
_MAX_PARENTHESIS_DEPTH = 8

PUNCTUATION = r"[!-/:-@\[-`{-~]"
_TOKEN = re.compile(rf"(?:\\?!)+|\\{PUNCTUATION}|\\\Z|`+|\[|\]|<|\*+|_+|~+|&")
_IN_LINK = re.compile(r"[\s()`<]")
_HALF_ENTITY = re.compile(r"&#?[0-9A-Za-z]{0,31}\Z")
HARMLESS_TAG = re.compile(r"</?(?:br|b|i|em|strong|s|del|u|sub|sup|kbd|mark|small) ?/?>", re.IGNORECASE)
"""They load nothing."""
AUTOLINK = re.compile(r"<(?:https?://|mailto:)[^\s<>`\"'\\\[\]!|]{1,1000}>", re.IGNORECASE)
IMAGE_TAG = re.compile(r"<ima?ge?(?=[\s/>])[^<>\n]{0,2000}>", re.IGNORECASE)
_HALF_TAG = re.compile(
    r"<(?:/?[a-z]{0,6} ?/?|[a-z]{1,6}:[^\s<>`\"'\\\[\]!|]{0,1000}|ima?ge?(?:[\s/][^<>\n]{0,2000})?)\Z", re.IGNORECASE
)
_BACKTICKS = re.compile(r"`+")
_WHOLE = (HARMLESS_TAG, AUTOLINK, IMAGE_TAG)
_HALF = -1


@dataclass(slots=True)
class Opener:
    """Markup that was opened at `at`: `*`, `_`, `~` or a backtick, `count` times, or `[`."""

    at: int
    mark: str
    count: int = 1


@dataclass(slots=True)
class OpenMarkup:
    """`openers` are in the order of the text. What begins at `undecided` may become a link, a tag or plain text."""

    openers: list[Opener] = field(default_factory=list)
    undecided: int | None = None

    @property
    def closing(self) -> str:
        return "".join(opener.mark * opener.count for opener in reversed(self.openers) if opener.mark != "[")

    @property
    def opening(self) -> str:
        return "".join(opener.mark * opener.count for opener in self.openers if opener.mark != "[")


class CodeRuns:
    """The runs of backticks in one line: they tell where a code span ends."""

    def __init__(self, line: str, start: int = 0, end: int | None = None) -> None:
        self._ends: dict[int, list[int]] = {}
        for run in _BACKTICKS.finditer(line, start, len(line) if end is None else end):
            self._ends.setdefault(len(run[0]), []).append(run.end())

    def closing(self, opened: int, length: int) -> int | None:
        """Where the code span ends whose opening run of `length` backticks ends at `opened`; None if it is open."""
        ends = self._ends.get(length, [])
        found = bisect_left(ends, opened + length + 1)
        return ends[found] if found < len(ends) else None


def open_markup(text: str, start: int = 0, *, ends: bool) -> OpenMarkup:
    """What is open at the end of the block of text that begins at `start`. `ends`: no more text follows."""
    return _Scan(text, start, ends=ends).run()


class _Scan:
    def __init__(self, text: str, start: int, *, ends: bool) -> None:
        self._text = text
        self._start = start
        self._ends = ends
        self._open: list[Opener] = []
        self._counts: dict[str, int] = {}
        self._runs = CodeRuns("")
        self._line_end = start

    def run(self) -> OpenMarkup:
        position = self._start
        while token := _TOKEN.search(self._text, position):
            position = self._take(token)
            if position == _HALF:
                return OpenMarkup(self._open, self._undecided(token))
        return OpenMarkup(self._open)

    def _undecided(self, token: re.Match[str]) -> int:
        return self._open.pop().at if token[0] == "]" else token.start()

    def _take(self, token: re.Match[str]) -> int:
        """The position after what `token` begins; `_HALF` if only more text can tell."""
        text, start, end = self._text, token.start(), token.end()
        if token[0].endswith("!"):
            if text.startswith("[", end):
                self._push(Opener(start, "["))
                return end + 1
            return _HALF if end == len(text) and not self._ends else end
        match token[0][0]:
            case "\\":
                return _HALF if start + 1 == end else end
            case "`":
                return self._code(start, end)
            case "[":
                self._push(Opener(start, "["))
                return end
            case "]":
                return self._close_bracket(end)
            case "<":
                return self._tag(start)
            case "&":
                return _HALF if _HALF_ENTITY.match(text, start) else end
            case mark:
                return self._emphasis(mark, start, end)

    def _push(self, opener: Opener) -> None:
        self._open.append(opener)
        self._counts[opener.mark] = self._counts.get(opener.mark, 0) + 1

    def _pop(self) -> Opener:
        opener = self._open.pop()
        self._counts[opener.mark] -= 1
        return opener

    def _code(self, start: int, end: int) -> int:
        text, length = self._text, end - start
        if start >= self._line_end:
            newline = text.find("\n", start)
            self._line_end = len(text) if newline < 0 else newline
            self._runs = CodeRuns(text, start, self._line_end)
        closed = self._runs.closing(end, length)
        at_end = len(text) - start <= MAX_CODE_CHARACTERS and self._line_end == len(text)
        if closed is not None and closed - start <= MAX_CODE_CHARACTERS:
            # The run of backticks may get longer.
            return _HALF if at_end and closed == len(text) and not self._ends else closed
        if closed is None and at_end:
            if end == len(text):
                return _HALF
            self._push(Opener(start, "`", length))
            return len(text)
        return end

    def _close_bracket(self, end: int) -> int:
        text = self._text
        if not self._counts.get("["):
            return end
        while self._open[-1].mark != "[":
            self._pop()
        # A number in brackets is a citation, which needs no address.
        cited = self._ends and end == len(text) and text[self._open[-1].at + 1 : end - 1].isdecimal()
        close = end if cited else _link_end(text, end) if end < len(text) else _HALF
        if close == _HALF and len(text) - self._open[-1].at <= MAX_LINK_CHARACTERS:
            return _HALF
        self._pop()
        return max(close, end)

    def _tag(self, start: int) -> int:
        text = self._text
        whole = next(filter(None, (tag.match(text, start) for tag in _WHOLE)), None)
        if whole is not None:
            return whole.end()
        return _HALF if _HALF_TAG.match(text, start) else start + 1

    def _emphasis(self, mark: str, start: int, end: int) -> int:
        text, left = self._text, end - start
        at_end = end == len(text)
        if at_end and not self._ends:
            return _HALF
        before = text[start - 1] if start > self._start else "\n"
        after = text[end] if end < len(text) else "\n"
        opens = _flanks(before, after) and (mark != "~" or left > 1)
        closes = _flanks(after, before) and (mark != "~" or left > 1)
        if mark == "_":
            opens, closes = opens and (not closes or _is_mark(before)), closes and (not opens or _is_mark(after))
        while closes and left and self._counts.get(mark):
            while self._open[-1].mark != mark:
                self._pop()
            opener = self._open[-1]
            used = min(left, opener.count, 2)
            left -= used
            opener.count -= used
            if not opener.count:
                self._pop()
        if opens and left:
            self._push(Opener(end - left, mark, left))
        return _HALF if at_end and left else end


def _flanks(outer: str, inner: str) -> bool:
    return not inner.isspace() and (not _is_mark(inner) or outer.isspace() or _is_mark(outer))


def _is_mark(character: str) -> bool:
    return not character.isalnum() and not character.isspace()


def _link_end(text: str, start: int) -> int:
    """Where the link ends whose label ends at `start`: `start` if it is none, `_HALF` if only more text can tell."""
    if text.startswith("[", start):
        end = text.find("]", start, start + MAX_LABEL_CHARACTERS)
        if _begins_other(text, start, len(text) if end < 0 else end):
            return start
        return end + 1 if end >= 0 else _HALF if len(text) - start <= MAX_LABEL_CHARACTERS else start
    if not text.startswith("(", start):
        return start
    depth = 0
    for found in _IN_LINK.finditer(text, start, start + MAX_LINK_CHARACTERS):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
        if depth > _MAX_PARENTHESIS_DEPTH or found[0] in "`<":
            return start
        if found[0].isspace():
            return _title_end(text, start, found.start())
    return _HALF


def _title_end(text: str, start: int, blank: int) -> int:
    rest = text[blank : blank + MAX_LINK_CHARACTERS]
    title = rest.lstrip()
    if title[:1] in ('"', "'"):
        quoted = title.find(title[0], 1)
        if _begins_other(title, 0, len(title) if quoted < 0 else quoted):
            return start
        title = title[quoted + 1 :].lstrip() if quoted > 0 else ""
    if not title:
        return _HALF
    return blank + len(rest) - len(title) + 1 if title[0] == ")" else start


def _begins_other(text: str, start: int, end: int) -> bool:
    """Whether a code span or a tag begins there: both take precedence over links."""
    return any(text.find(mark, start, min(end, start + MAX_LINK_CHARACTERS)) >= 0 for mark in "`<")
