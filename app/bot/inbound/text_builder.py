"""Builds text from words, lines and code, collapsing white space as HTML does. Pure."""

from __future__ import annotations


class TextBuilder:
    """Line breaks and spaces are written when text follows them, never at the end."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._breaks = 0
        self._space = False
        self._fresh = False

    def break_line(self, lines: int) -> None:
        if not self._fresh:
            self._breaks = max(self._breaks, lines)
            self._space = False

    def end_line(self) -> None:
        self._fresh = False
        self.break_line(1)

    def line_break(self) -> None:
        self._breaks = min(self._breaks + 1, 2)

    def mark(self, marker: str, prefix: str = "", *, same_line: bool = False) -> None:
        """Appends a marker such as `- `; breaks and spaces right after it are dropped."""
        if same_line:
            self._breaks, self._space = 0, False
        else:
            self.end_line()
            self._flush(prefix)
        self.parts.append(marker)
        self._fresh = True

    def add(self, text: str, prefix: str) -> None:
        """Appends text with its white space collapsed."""
        words = text.split()
        if not words:
            self._space = self._space or bool(text)
            return
        self._space = self._space or text[0].isspace()
        self.add_raw(" ".join(words), prefix)
        self._space = text[-1].isspace()

    def add_raw(self, text: str, prefix: str = "") -> None:
        self._flush(prefix)
        if text:
            self._fresh = False
            self.parts.append(text)

    def _flush(self, prefix: str) -> None:
        if not self.parts:
            self.parts.append(prefix)
        elif self._breaks:
            self.parts.append(f"\n{prefix.rstrip()}" * (self._breaks - 1) + f"\n{prefix}")
        elif self._space and not self._fresh:
            self.parts.append(" ")
        self._breaks, self._space = 0, False

    def __str__(self) -> str:
        return "".join(self.parts).strip()


def inline_code(text: str) -> str:
    if not text:
        return ""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def code_block(text: str, language: str) -> str:
    fence = "```"
    while fence in text and len(fence) < 20:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
