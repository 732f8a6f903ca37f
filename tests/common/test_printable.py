"""What others wrote drives no terminal, and shows what is there."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.common.printable import printable

HOSTILE = (
    "\x1b",
    "\x1b[",
    "\x1b]",
    "\x9b",
    "\x9d",
    "\x1b[1",
    "\x1b[ ",
    "\x1b ",
    "\r",
    "\x07",
    "0",
    "\u202e",
    "\n",
    "\x1b\\",
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nand more", "plain\ttext\nand more"),
        ("Türkçe, 日本語, 👩‍🔬, ﷺ", "Türkçe, 日本語, 👩‍🔬, ﷺ"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("clear \x1b[2J\x1b[H\x1bc", "clear "),
        # The window's title, the clipboard, a link, a notification.
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;cm0gLXJmIH4=\x1b\\after", "after"),
        ("\x9d8;;https://evil.example\x9clink\x1b]8;;\x07", "link"),
        ("\x1bP$qm\x1b\\after", "after"),
        ("never ended \x1b]0;title\nnext line", "never ended \nnext line"),
        ("an end \x1b", "an end "),
        ("\x1b\x1b[31m twice", " twice"),
        # What is written over.
        ("rm -rf /\rls      ", "rm -rf /ls      "),
        ("abc\b\b\bxyz", "abcxyz"),
        ("line\r\nline\u2028line", "line\nline\nline"),
        # https://trojansource.codes
        ("a\u202eb\u2066c\u2069d\u200fe", "abcde"),
        ("in\u200bvis\xadible\U000e0041", "invisible"),
        ("half a pair \ud83d", "half a pair "),
    ],
)
def test_control_sequences_and_invisible_characters_are_removed(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=3))).map("".join))
def test_printable_text_stays_the_same(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert all(character in "\n\t" or character.isprintable() or ord(character) > 0x9F for character in shown)
    shown.encode()


@pytest.mark.parametrize("piece", HOSTILE)
def test_it_is_linear_in_the_text(piece: str) -> None:
    started = time.process_time()
    printable(piece * (100_000 // len(piece)))
    assert time.process_time() - started < 1
