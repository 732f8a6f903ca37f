"""A message that changes while it is read stands on the terminal as it is in the end."""

from __future__ import annotations

import io
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from app.common.printable import printable
from app.local.drawn_markdown import lines_of
from app.local.screen import Screen

COLUMNS = 31
HEIGHT = [1000]


class Terminal(io.StringIO):
    """What a person sees: understands line breaks, and the few control sequences that Screen uses."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = [""]
        self.styles: list[str] = []
        self.row = self.column = 0

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for token in re.findall(r"\x1b\[[\d;]*[A-Za-z]|.|\n", text, re.DOTALL):
            self._take(token)
        return len(text)

    def _take(self, token: str) -> None:
        if token.endswith("m") and len(token) > 1:
            self.styles.append(token)
        elif token == "\n":
            self._down()
        elif token == "\r":
            self.column = 0
        elif token.endswith("A") and len(token) > 1:
            self.row -= int(token[2:-1])
            assert self.row >= max(0, len(self.rows) - HEIGHT[0]), "the cursor left the screen"
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
        return [row.rstrip() for row in self.rows]


@pytest.fixture(autouse=True)
def _small_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((COLUMNS, HEIGHT[0])))
    HEIGHT[0] = 1000


PIECES = (
    "a",
    "word ",
    "\n",
    "\n\n",
    "**",
    "`",
    "```\n",
    "- item\n",
    "1. x\n",
    "# h\n",
    "| a | b |\n",
    "| - | - |\n",
    "> ",
    "<br>",
    "[x](y)",
    "日本",
)
texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


def drawn(text: str) -> list[str]:
    lines = lines_of(text, COLUMNS - 1) if text.strip() else []
    return [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in lines]


@given(st.lists(texts, min_size=1, max_size=5), st.booleans(), texts, st.integers(min_value=2, max_value=40))
def test_the_final_text_replaces_what_was_streamed(
    updates: list[str], has_status: bool, final: str, height: int
) -> None:
    HEIGHT[0] = height
    terminal = Terminal()
    screen = Screen(terminal, io.StringIO(), {})
    if has_status:
        screen.status("Thinking…")
    for update in updates:
        screen.text(update)
    screen.finish(final)
    lines = drawn(final)
    shown = [row.replace("\0", "") for row in terminal.shown()]
    assert shown[len(shown) - 1 - len(lines) :] == [*lines, ""]
    if height > 35 + 40 * 2:
        assert shown == [*lines, *([""] if lines else [])]


@given(st.text(max_size=200), st.integers(min_value=10, max_value=80))
def test_any_text_is_drawn_within_the_width(text: str, columns: int) -> None:
    for line in lines_of(printable(text), columns):
        assert cell_len(re.sub(r"\x1b\[[\d;]*m", "", line)) <= columns


def terminal_with(*texts: str, environment: dict[str, str] | None = None) -> Terminal:
    terminal = Terminal()
    screen = Screen(terminal, io.StringIO(), environment or {})
    for text in texts[:-1]:
        screen.text(text)
    screen.finish(texts[-1])
    return terminal


def test_markdown_is_rendered() -> None:
    answer = (
        "# Sales\n\nThe **total** is `42` <br> for [you](https://example.com).\n\n"
        "| a | b |\n| - | -: |\n| x | 1 |\n\n- one\n- two\n\n```sql\nSELECT 1\n```"
    )
    terminal = terminal_with("# Sa", answer)
    assert terminal.shown() == [
        "Sales",
        "",
        "The total is 42 <br> for you",
        "(https://example.com).",
        "",
        "",
        " a  b",
        " ────",
        " x  1",
        "",
        "",
        " • one",
        " • two",
        "",
        "",
        " SELECT 1",
        "",
    ]
    assert "\x1b[1m" in terminal.styles


def test_without_colours_nothing_is_coloured() -> None:
    answer = "# Sales\n\n`code` and [link](https://example.com)\n\n```sql\nSELECT 1\n```"
    coloured = re.compile(r"\x1b\[(?:\d+;)*[349]\d")
    assert any(coloured.match(style) for style in terminal_with(answer).styles)
    plain = terminal_with(answer, environment={"NO_COLOR": "1"})
    assert not any(coloured.match(style) for style in plain.styles)
    assert plain.shown() == terminal_with(answer).shown()


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_gets_the_text_as_it_was_written(name: str) -> None:
    terminal = Terminal()
    screen = Screen(terminal, terminal, {"TERM": name})
    screen.status("Thinking…")
    screen.text("The **to")
    screen.finish("The **total**", ["[1] Handbook"])
    screen.note("(stopped)")
    assert terminal.shown() == ["The **total**", "[1] Handbook", "(stopped)", ""]
    assert terminal.styles == []


def test_a_long_answer_scrolls_and_is_not_drawn_again() -> None:
    HEIGHT[0] = 5
    lines = [f"- line {number}" for number in range(50)]
    terminal = terminal_with(*("\n".join(lines[:count]) for count in range(1, 51)))
    assert terminal.shown() == [*(f" • line {number}" for number in range(50)), ""]


def test_a_second_message_stands_below_the_first() -> None:
    terminal = Terminal()
    screen = Screen(terminal, io.StringIO(), {})
    screen.finish("one", ["[1] A\x1b[2Jtitle"])
    screen.status("…")
    screen.text("tw")
    screen.finish("two")
    assert terminal.shown() == ["one", "[1] Atitle", "two", ""]


def test_a_stopped_answer_is_marked_below_its_text() -> None:
    terminal = Terminal()
    screen = Screen(terminal, io.StringIO(), {})
    screen.text("The ans")
    screen.note("(stopped)")
    assert terminal.shown() == ["The ans", "(stopped)", ""]


def test_a_status_gives_way_to_the_next_one_and_to_text() -> None:
    terminal = Terminal()
    screen = Screen(terminal, io.StringIO(), {})
    screen.status("Thinking about it for a very long time")
    assert terminal.shown() == ["Thinking about it for a very l"]
    screen.status("Almost")
    assert terminal.shown() == ["Almost"]
    screen.text("Yes")
    screen.status("too late")
    assert terminal.shown() == ["Yes"]


def test_output_to_a_pipe_holds_finished_messages_only() -> None:
    out, err = io.StringIO(), Terminal()
    screen = Screen(out, err, {})
    screen.status("Thinking…")
    assert err.shown() == ["Thinking…"]
    screen.text("The **ans")
    screen.finish("The **answer**\x1b[2J", ["[1] Handbook"])
    assert out.getvalue() == "The **answer**\n[1] Handbook\n"
    assert err.shown() == [""]


def test_a_closed_window_is_no_error() -> None:
    class Closed(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    screen = Screen(Closed(), Closed(), {})
    screen.status("Thinking…")
    screen.text("The answer")
    screen.finish("The answer", ["[1]"])
    screen.note("(stopped)")
