"""Where Markdown may be cut: what is open at the end of each line, and how to close it here and open it again there."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

_FENCE = re.compile(r"^[ \t]*(?:[-*+][ \t]+|\d{1,9}[.)][ \t]+|>[ \t]?)*(`{3,}|~{3,})([^\n]*)$")
_DELIMITER_ROW = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_LONGEST_REOPENING = 2_000


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
    """A cut at `offset` needs `closing` before it and `opening` after it."""

    offset: int
    cost: Cost
    closing: str = ""
    opening: str = ""


def utf16_units(text: str) -> int:
    """The length as Teams counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def line_ends(text: str) -> Iterator[LineEnd]:
    """The end of every line, the last one too even if no newline ends it."""
    lines = text.splitlines(keepends=True) if "\r" not in text else re.findall(r"[^\n]*\n|[^\n]+", text)
    lines = _rejoin_odd_breaks(lines)
    offset = 0
    fence: tuple[str, str] | None = None
    table: list[str] = []
    for number, line in enumerate(lines):
        offset += len(line)
        bare = line.rstrip("\n")
        found = _FENCE.match(bare)
        if fence is not None:
            if found and _closes(found, fence[0]):
                fence, cost = None, Cost.LINE
                yield LineEnd(offset, cost)
            else:
                yield _in_fence(offset, line, fence, Cost.CODE_LINE)
            continue
        if found and not (found[1][0] == "`" and "`" in found[2]):
            table = []
            fence = (found[1], bare)
            yield _in_fence(offset, line, fence, Cost.FENCE_LINE)
            continue
        following = lines[number + 1].rstrip("\n") if number + 1 < len(lines) else ""
        if table and "|" in bare:
            table.append(line)
            yield _in_table(offset, table)
        elif "|" in bare and "|" in following and _DELIMITER_ROW.match(following):
            table = [line]
            yield LineEnd(offset, Cost.FORBIDDEN)
        else:
            table = []
            yield LineEnd(offset, Cost.LINE if bare.strip() else Cost.PARAGRAPH)


def _rejoin_odd_breaks(lines: list[str]) -> list[str]:
    """`str.splitlines` also breaks at form feeds and the like, which are no line ends in Markdown."""
    joined: list[str] = []
    for line in lines:
        if joined and not joined[-1].endswith("\n"):
            joined[-1] += line
        else:
            joined.append(line)
    return joined


def _closes(found: re.Match[str], marker: str) -> bool:
    return found[1][0] == marker[0] and len(found[1]) >= len(marker) and not found[2].strip()


def _in_fence(offset: int, line: str, fence: tuple[str, str], cost: Cost) -> LineEnd:
    marker, first_line = fence
    opening = first_line if len(first_line) <= _LONGEST_REOPENING else marker
    indent = first_line[: len(first_line) - len(first_line.lstrip())]
    closing = f"{'' if line.endswith(chr(10)) else chr(10)}{indent}{marker}"
    return LineEnd(offset, cost, closing, opening + "\n")


def _in_table(offset: int, table: list[str]) -> LineEnd:
    if len(table) < 3 or not table[-1].endswith("\n"):
        return LineEnd(offset, Cost.FORBIDDEN)
    header = "".join(table[:2])
    return LineEnd(offset, Cost.TABLE_ROW, opening=header if len(header) <= _LONGEST_REOPENING else "")


def end_of(text: str) -> LineEnd:
    """What a cut after the whole of `text` needs."""
    return deque(line_ends(text), maxlen=1).pop() if text else LineEnd(0, Cost.PARAGRAPH)


def presentable(text: str) -> str:
    """`text` without a last line that would look broken: half a table row, or half a line of code."""
    cut = text.rfind("\n") + 1
    if cut == len(text):
        return text
    *_, last = line_ends(text)
    in_code = bool(last.closing)
    in_table = text[cut:].lstrip().startswith("|") or last.cost is Cost.FORBIDDEN
    return text[:cut] if in_code or in_table else text


def render(text: str) -> str:
    """The model's `text` as it is sent. What `presentable` has let through stays as it is when more text follows."""
    return text
