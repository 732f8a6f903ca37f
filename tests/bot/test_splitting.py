"""Long answers arrive in parts, none of them broken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bot.rendering.markdown import line_ends, streamable_prefix, utf16_units
from app.bot.rendering.split import split

PIECES = st.sampled_from(
    [
        "```py\n", "```\n", "~~~\n", "    code\n", "| a | b |\n|---|---|\n", "| 1 | 2 |\n", "word ", "\n", "\n\n",
        "x" * 30, "😀é ", "- item\n", "> ```\n", "\r\n", "\x0c", "\u2028", "`", "|",
    ]
)  # fmt: skip
MARKDOWN = st.lists(PIECES, max_size=60).map("".join)


def is_closed(text: str) -> bool:
    ends = list(line_ends(text))
    return not ends or not ends[-1].closing


@given(MARKDOWN, st.integers(40, 200))
@settings(max_examples=400)
def test_every_part_fits_the_channel_and_leaves_no_code_block_open(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert all(utf16_units(part) <= limit for part in parts)
    assert all(is_closed(part) for part in parts[:-1])


def test_a_line_that_ends_a_quotation_is_not_taken_for_its_code() -> None:
    assert split("> ```\n" + "x" * 30 + "```py\n", 40) == ["> ```\n" + "x" * 30 + "`", "``py\n"]


@given(st.text(), st.integers(20, 60))
@settings(max_examples=300)
def test_no_character_is_lost(text: str, limit: int) -> None:
    if set(text) & set("`~|*_"):
        return
    assert "".join(split(text, limit)).replace("\n", "") == text.replace("\n", "") or not text.strip()


@given(MARKDOWN, st.integers(60, 200), st.data())
@settings(max_examples=300)
def test_the_first_part_begins_with_what_was_streamed(text: str, limit: int, data: st.DataObject) -> None:
    streamed = ""
    for end in range(len(text) + 1):
        if utf16_units(text[:end]) <= limit * 0.8:
            streamed = text[:end]
    shown = streamable_prefix(streamed[: data.draw(st.integers(0, len(streamed)))])
    assert split(text, limit, at_least=len(shown))[0].startswith(shown)


def test_a_short_text_is_left_alone() -> None:
    assert split("Hello\n", 100) == ["Hello\n"]


def test_paragraphs_are_preferred_over_lines_and_lines_over_words() -> None:
    text = "First paragraph.\n\nSecond paragraph,\nwith a second line."
    assert split(text, 40) == ["First paragraph.\n\n", "Second paragraph,\nwith a second line."]


def test_code_continues_in_a_code_block_of_the_same_language() -> None:
    text = "```python\n" + "".join(f"line{n} = {n}\n" for n in range(10)) + "```\n"
    parts = split(text, 80)
    assert len(parts) > 1
    assert all(part.startswith("```python\n") for part in parts)
    assert all(part.rstrip().endswith("```") for part in parts)
    assert sum(part.count("line") for part in parts) == 10


def test_a_table_continues_under_the_same_header() -> None:
    header = "| name | value |\n|---|---|\n"
    parts = split(header + "".join(f"| n{n} | {n} |\n" for n in range(20)), 120)
    assert len(parts) > 1
    assert all(part.startswith(header) for part in parts)
    rows = [line for part in parts for line in part.splitlines()[2:]]
    assert rows == [f"| n{n} | {n} |" for n in range(20)]


def test_one_endless_word_is_cut_but_no_emoji_is_cut_in_half() -> None:
    parts = split("😀" * 100, 51)
    assert "".join(parts) == "😀" * 100
    assert all(utf16_units(part) <= 51 for part in parts)


@pytest.mark.parametrize("mark", ["**", "*", "~~", "`", "``"])
def test_emphasis_in_one_endless_line_continues_in_every_part(mark: str) -> None:
    words = "![x](https://evil.example) "
    text = f"a {mark}{words * 5}b{mark}"
    parts = split(text, 60)
    assert len(parts) > 2
    assert all(utf16_units(part) <= 60 for part in parts)
    assert all(part.count(mark) == 2 for part in parts)
    assert "".join(parts).replace(mark, "").replace("…", "") == f"a {words * 5}b"


@pytest.mark.parametrize("opening", ["~" * 8_990, "`" * 20_000, "> " * 4_000 + "```", "- " * 4_000 + "```"])
def test_a_long_first_line_of_code_is_not_repeated_in_every_part(opening: str) -> None:
    text = f"{opening}\n" + "code\n" * 4_000
    assert len(split(text, 9_000)) < len(text) / 2_000
