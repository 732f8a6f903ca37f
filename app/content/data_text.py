"""Text that came from data, for a person to read: on one line, in its order, and as Markdown that marks nothing."""

from __future__ import annotations

import re

# Control characters, and those that Unicode leaves to programs: this one marks interruptions with them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufdd0-\ufdef]")
# They let a text read otherwise than it is: https://nvd.nist.gov/vuln/detail/CVE-2021-42574
_REORDERING = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
# An underscore between letters marks nothing, and names in data are full of them.
_MARKUP = re.compile(r"[\\`*\[\]<>|~&!#]|(?<![^\W_])_|_(?![^\W_])")


def one_line(text: str, most: int = 1_000) -> str:
    text = " ".join(_CONTROL.sub(" ", in_its_order(text[: most * 2])).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def in_its_order(text: str) -> str:
    return _REORDERING.sub("\ufffd", text)


def as_data(text: str) -> str:
    """One line that reads as `text` does, whatever marks stand in it; not to begin a line with."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))
