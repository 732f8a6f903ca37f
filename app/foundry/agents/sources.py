"""Sources that an answer has beside its text, as numbered links."""

from __future__ import annotations

import re
from collections.abc import Mapping

_URL = re.compile(r"https://[^\s()<>]{1,2000}")
_END = re.compile(r"[^\w/?&=#%~+-]|\Z")
_BRACKETS = str.maketrans("[]", "()")


def is_source_of(text: str, url: str) -> bool:
    """Whether it is an address that can be linked to, and the text does not show it already."""
    if _URL.fullmatch(url) is None:
        return False
    _, *rests = text.split(url)
    # Another address may begin with this one.
    return not any(_END.match(rest) for rest in rests)


def numbered_links(titles: Mapping[str, str]) -> str:
    """One a line, of the titles by address."""
    links = (
        f"{number}. [{title.translate(_BRACKETS)}]({url})" for number, (url, title) in enumerate(titles.items(), 1)
    )
    return "\n".join(links)
