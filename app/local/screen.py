"""A message that changes while it is read, in a terminal."""

from __future__ import annotations

import shutil
from itertools import takewhile
from typing import TextIO

from app.local.printable import printable

_DIM, _PLAIN, _CLEAR_BELOW = "\x1b[2m", "\x1b[0m", "\x1b[J"


class Screen:
    """Draws the newest text of one message at a time, and a dim line of status while there is no text.

    On a terminal the text is drawn as it grows, and what has changed is drawn anew. Elsewhere `out` is given finished
    messages alone, and the status goes to `err` if a person can see that.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._live = out.isatty()
        self._drawn = ""
        self._status = ""

    def status(self, text: str) -> None:
        """One line, gone as soon as something else is shown."""
        stream = self._out if self._live else self._err
        if self._drawn or not stream.isatty() or text == self._status:
            return
        self._clear_status()
        line = " ".join(printable(text).split())[: shutil.get_terminal_size().columns - 1]
        stream.write(f"{_DIM}{line}{_PLAIN}")
        stream.flush()
        self._status = text

    def _clear_status(self) -> None:
        if self._status:
            stream = self._out if self._live else self._err
            stream.write(f"\r{_CLEAR_BELOW}")
            stream.flush()
            self._status = ""

    def text(self, text: str) -> None:
        """The whole text of the message so far."""
        if not self._live:
            return
        self._clear_status()
        self._draw(printable(text))

    def _draw(self, text: str) -> None:
        pairs = zip(self._drawn, text, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        if same < len(self._drawn):
            same = text.rfind("\n", 0, same) + 1
            self._out.write(_back_over(self._drawn[same:], *shutil.get_terminal_size()))
        self._out.write(text[same:])
        self._out.flush()
        self._drawn = text

    def finish(self, text: str | None = None) -> None:
        """Ends the message; with `text`, that is what it says in the end."""
        self._clear_status()
        if self._live:
            if text is not None:
                self._draw(printable(text))
            text = self._drawn
        if text:
            self._out.write("\n" if self._live else printable(text) + "\n")
            self._out.flush()
        self._drawn = ""


def _back_over(text: str, columns: int, rows: int) -> str:
    """Moves to where `text`, which began at the start of a line, began, and clears what follows."""
    up = sum(max(0, len(line) - 1) // columns + 1 for line in text.split("\n")) - 1
    if up >= rows:
        return "\n"  # the beginning has left the screen; the text is drawn again below
    return "\r" + (f"\x1b[{up}A" if up else "") + _CLEAR_BELOW
