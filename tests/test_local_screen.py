"""A message that changes while it is read stands on the terminal as it is in the end."""

from __future__ import annotations

import io
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.local.screen import Screen

COLUMNS, ROWS = 12, 1000


class Terminal(io.StringIO):
    """What a person sees: understands line breaks, and the few control sequences that Screen uses."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = [""]
        self.row = self.column = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for token in re.findall(r"\x1b\[\d*[A-Za-z]|.|\n", text, re.DOTALL):
            self._take(token)
        return len(text)

    def _take(self, token: str) -> None:
        if token == "\n":
            self._down()
        elif token == "\r":
            self.column = 0
        elif token.endswith("A") and len(token) > 1:
            self.row -= int(token[2:-1])
            assert self.row >= 0, "the cursor left the screen"
        elif token == "\x1b[J":
            self.rows[self.row :] = [self.rows[self.row][: self.column]]
        elif len(token) == 1:
            if self.column == COLUMNS:
                self._down()
            line = self.rows[self.row]
            self.rows[self.row] = line[: self.column] + token + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.rows):
            self.rows.append("")

    def shown(self) -> list[str]:
        return self.rows


def wrapped(text: str) -> list[str]:
    rows = []
    for line in text.split("\n"):
        rows += [line[at : at + COLUMNS] for at in range(0, len(line), COLUMNS)] or [""]
    return rows


@pytest.fixture(autouse=True)
def _narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((COLUMNS, ROWS)))


texts = st.text(alphabet="ab \n", max_size=60)


@given(st.lists(texts, min_size=1, max_size=5), st.booleans(), texts)
def test_whatever_was_streamed_the_final_text_is_what_stands_there(
    updates: list[str], has_status: bool, final: str
) -> None:
    terminal = Terminal()
    screen = Screen(terminal, io.StringIO())
    if has_status:
        screen.status("Thinking…")
    for update in updates:
        screen.text(update)
    screen.finish(final)
    assert terminal.shown() == [*wrapped(final), *([""] if final else [])]


def test_a_second_message_stands_below_the_first() -> None:
    terminal = Terminal()
    screen = Screen(terminal, io.StringIO())
    screen.finish("one")
    screen.status("…")
    screen.text("tw")
    screen.finish("two")
    assert terminal.shown() == ["one", "two", ""]


def test_a_status_gives_way_to_the_next_one_and_to_text() -> None:
    terminal = Terminal()
    screen = Screen(terminal, io.StringIO())
    screen.status("Thinking about it for long")
    assert terminal.shown() == ["Thinking ab"]
    screen.status("Almost")
    assert terminal.shown() == ["Almost"]
    screen.text("Yes")
    screen.status("too late")
    assert terminal.shown() == ["Yes"]


def test_output_that_nobody_watches_holds_finished_messages_alone() -> None:
    out, err = io.StringIO(), Terminal()
    screen = Screen(out, err)
    screen.status("Thinking…")
    assert err.shown() == ["Thinking…"]
    screen.text("The ans")
    screen.finish("The answer")
    assert out.getvalue() == "The answer\n"
    assert err.shown() == [""]
