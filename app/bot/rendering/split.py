"""Splits long Markdown into parts that each render alone: code blocks and tables are closed and opened again."""

from __future__ import annotations

from app.bot.rendering.markdown import Cost, LineEnd, end_of, line_ends, utf16_units


def split(text: str, limit: int, *, at_least: int = 0) -> list[str]:
    """Parts of at most `limit` UTF-16 code units. The first begins with the first `at_least` characters of `text`."""
    parts: list[str] = []
    while utf16_units(text) > limit:
        part, text = cut(text, limit, at_least=at_least)
        parts.append(part)
        at_least = 0
    return [*parts, text] if text.strip() or not parts else parts


def cut(text: str, limit: int, *, at_least: int = 0) -> tuple[str, str]:
    """The first part of `text` and the rest, both whole Markdown; the rest is always shorter than `text`."""
    end = best_cut(text, limit, at_least=at_least)
    rest = text[end.offset :]
    if not end.opening:
        rest = rest.lstrip("\n")
    return text[: end.offset] + end.closing, end.opening + rest if rest else ""


def best_cut(text: str, limit: int, *, at_least: int = 0) -> LineEnd:
    return _best_line_end(text, limit, at_least) or _within_a_line(text, limit, at_least)


def _best_line_end(text: str, limit: int, at_least: int) -> LineEnd | None:
    fitting: list[LineEnd] = []
    units = start = 0
    for end in line_ends(text):
        units += utf16_units(text[start : end.offset])
        start = end.offset
        if units > limit:
            break
        # A part of nothing but what was opened again would leave the rest as long as it was.
        if end.offset >= max(at_least, len(end.opening) + 1) and units + len(end.closing) <= limit:
            fitting.append(end)
    allowed = [end for end in fitting if end.cost is not Cost.FORBIDDEN] or fitting
    late = [end for end in allowed if end.offset * 2 >= allowed[-1].offset]
    return min(late, key=lambda end: (end.cost, -end.offset), default=None)


def _within_a_line(text: str, limit: int, at_least: int) -> LineEnd:
    most = _offset_at(text, limit)
    line = previous = LineEnd(0, Cost.LINE)
    for end in line_ends(text):
        previous, line = line, end
        if end.offset >= most:
            break
    if not line.closing and previous.closing and not text[previous.offset : line.offset].strip("`~> \t\r\n"):
        # The limit is inside the line that closes the code: there is no room to close it before that line.
        line = previous
    if line.closing:
        closing = "\n" + line.closing.lstrip("\n")
        most = _offset_at(text, limit - utf16_units(closing))
        if most > max(at_least, len(line.opening)):
            return LineEnd(_after_a_space(text, at_least, most), Cost.CODE_LINE, closing, line.opening)
        most = _offset_at(text, limit)
    offset = max(_after_a_space(text, at_least, most), at_least, 1)
    return _with_markup_closed(text, offset, limit, at_least) or LineEnd(offset, Cost.LINE)


def _with_markup_closed(text: str, offset: int, limit: int, at_least: int) -> LineEnd | None:
    """A cut at `offset` or a little before it, inside emphasis or a code span."""
    end = end_of(text[:offset])
    if not end.closing:
        return None
    offset = _after_a_space(text, at_least, _offset_at(text, limit - utf16_units(end.closing)))
    end = end_of(text[:offset])
    fits = utf16_units(text[:offset]) + utf16_units(end.closing) <= limit
    # A part of nothing but what was opened again would leave the rest as long as it was.
    return end if fits and offset > max(at_least, 2 * len(end.opening)) else None


def _after_a_space(text: str, at_least: int, most: int) -> int:
    space = text.rfind(" ", max(at_least, most // 2), most)
    return space + 1 if space > 0 else most


def _offset_at(text: str, units: int) -> int:
    """The most characters of `text` that take up no more than `units`."""
    if text.isascii():
        return min(units, len(text))
    taken = 0
    for offset, character in enumerate(text):
        taken += 2 if ord(character) > 0xFFFF else 1
        if taken > units:
            return offset
    return len(text)
