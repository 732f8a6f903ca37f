"""What a check found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """`file` is relative to the repository; `line` counts from 1; `sentence` says what is wrong."""

    file: str
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence}"


# A check reads what it needs below the repository's folder and returns every problem at once.
Check = Callable[[Path], list[Problem]]
