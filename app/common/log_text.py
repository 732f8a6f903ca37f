"""Text that another machine wrote, as a log may hold it."""

from __future__ import annotations

import re

QUOTED_CHARACTERS = 500
_SECRET = re.compile(
    r"(?i)bearer\s+[^\s\"'<>,]+|\b(?:dapi|dose|dkea)[0-9a-f]{16,}\S*|(?<![\w.-])eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"
)


def quoted(text: str) -> str:
    """Short, on one line, printable, and without anything that looks like a credential."""
    line = _SECRET.sub("[secret]", one_line(text[: 4 * QUOTED_CHARACTERS]))
    return line if len(line) <= QUOTED_CHARACTERS else line[:QUOTED_CHARACTERS] + "…"


def one_line(text: str) -> str:
    """Printable, and on one line."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def name_or_empty(text: str) -> str:
    """A code or a category where it looks like one: some proxies put sentences there."""
    return text if re.fullmatch(r"[A-Za-z0-9_.:/\[\]-]{1,80}", text) else ""
