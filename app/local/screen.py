"""Draws a message that changes, in a terminal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TextIO

from app.common.printable import printable

_DIM, _PLAIN, _CLEAR_BELOW = "\x1b[2m", "\x1b[0m", "\x1b[J"
_MIN_COLUMNS = 10
_NO_CURSOR = {"dumb", "unknown"}


class Screen:
    """Draws the newest text of one message at a time, and a dim line of status while there is no text.

    On a terminal the text is drawn as it grows, with its Markdown rendered, and changed lines are drawn again.
    Elsewhere, and on a terminal that cannot move its cursor, `out` gets finished messages only, as they were written;
    the status goes to `err` if that is a terminal. NO_COLOR is obeyed: https://no-color.org
    """

    def __init__(self, out: TextIO, err: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._out = out
        self._err = err
        self._can_draw = environment.get("TERM") not in _NO_CURSOR
        self._live = out.isatty() and self._can_draw
        self._colours = not environment.get("NO_COLOR")
        self._text = ""
        self._drawn: list[str] = []
        self._changed_out_of_reach = False
        self._status = ""

    def status(self, text: str) -> None:
        """One line, gone as soon as something else is shown."""
        stream = self._status_stream
        line = _one_line(text)[: shutil.get_terminal_size().columns - 1]
        if self._drawn or not self._can_draw or not stream.isatty() or line == self._status:
            return
        self._clear_status()
        _write(stream, f"{_DIM}{line}{_PLAIN}")
        self._status = line

    @property
    def _status_stream(self) -> TextIO:
        return self._out if self._live else self._err

    def _clear_status(self) -> None:
        if self._status:
            _write(self._status_stream, f"\r{_CLEAR_BELOW}")
            self._status = ""

    def text(self, text: str) -> None:
        """The whole text of the message so far."""
        if self._live:
            self._clear_status()
            self._draw(printable(text), whole=False)

    def finish(self, text: str | None = None, sources: Sequence[str] = ()) -> None:
        """Ends the message, with `text` as its final text if given. `sources` are listed below it."""
        self._clear_status()
        listed = [_one_line(source) for source in sources]
        if self._live:
            if text is not None:
                self._draw(printable(text), whole=True)
            below = [f"{_DIM}{line}{_PLAIN}" for line in listed]
            ends = ["", *below] if self._drawn else below
            if ends:
                _write(self._out, "\n".join(ends) + "\n")
        elif text or listed:
            whole = [printable(text)] if text else []
            _write(self._out, "\n".join([*whole, *listed]) + "\n")
        self._text, self._drawn, self._changed_out_of_reach = "", [], False

    def note(self, text: str) -> None:
        """A line below the answer; where `out` is no terminal, it goes to `err`."""
        self.finish()
        line = _one_line(text)
        _write(self._status_stream, f"{_DIM}{line}{_PLAIN}\n" if self._live else f"{line}\n")

    def _draw(self, text: str, *, whole: bool) -> None:
        if text == self._text and not (whole and self._changed_out_of_reach):
            return
        # The last column stays free: terminals differ on how wide some characters are.
        columns, rows = shutil.get_terminal_size()
        lines = self._lines(text, max(columns - 1, _MIN_COLUMNS))
        same = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(self._drawn, lines, strict=False))))
        out_of_reach = len(self._drawn) - rows
        self._changed_out_of_reach |= same < out_of_reach
        if (whole and self._changed_out_of_reach) or 0 < out_of_reach >= len(lines):
            # Lines that have left the screen cannot be changed: the final message is drawn below them.
            _write(self._out, "\n\n" + "\n".join(lines))
            self._changed_out_of_reach = False
        elif same < len(self._drawn) or same < len(lines):
            _write(self._out, self._change_from(max(same, out_of_reach), lines))
        self._text, self._drawn = text, lines

    def _lines(self, text: str, columns: int) -> list[str]:
        if not text.strip():
            return []
        from app.local.drawn_markdown import lines_of  # noqa: PLC0415 - rich is slow to import

        return lines_of(text, columns, colours=self._colours)

    def _change_from(self, same: int, lines: Sequence[str]) -> str:
        """From the end of the last line drawn to the end of the new last one."""
        if same == len(self._drawn):
            return ("\n" if self._drawn else "") + "\n".join(lines[same:])
        up = len(self._drawn) - 1 - same
        begin = "\r" + (f"\x1b[{up}A" if up else "") + _CLEAR_BELOW
        if same >= len(lines) and lines:
            # The text became shorter: the cursor goes to the end of what is left.
            begin, same = f"\r\x1b[{len(self._drawn) - len(lines)}A" + _CLEAR_BELOW, len(lines) - 1
        return begin + "\n".join(lines[same:])


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _write(stream: TextIO, text: str) -> None:
    """Ignores that the window or the other end of the pipe is closed."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        return
