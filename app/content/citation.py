"""A source of an answer. Apart from the other blocks, which are imported with the first of them: it takes 30 ms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Citation:
    """`position` is the n of `[n]` in the answer's text."""

    position: int
    title: str
    url: str | None = None
    quote: str = ""
    kind: Literal["citation"] = field(default="citation", kw_only=True, repr=False)
