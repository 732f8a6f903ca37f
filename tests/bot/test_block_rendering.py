"""Blocks as Markdown, as plain text and as a card, to the letter. UPDATE_GOLDEN=1 writes the files anew: read them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from app.bot.rendering.adaptive_card import CARD_LIMIT_UTF16, adaptive_card
from app.bot.rendering.block_markdown import markdown
from app.bot.rendering.block_text import MAX_ROWS_SHOWN, plain_text
from app.bot.rendering.markdown import utf16_units
from app.content.block_limits import within_limits
from app.content.blocks import (
    Action,
    Actions,
    ActionStyle,
    Block,
    Chart,
    ChartKind,
    Citation,
    Code,
    Column,
    ColumnType,
    Fact,
    Facts,
    Image,
    Link,
    Point,
    Series,
    Table,
    Text,
)
from app.translation import ENGLISH, translator_for
from tests.content.test_blocks import BLOCKS, WORDS

GOLDEN = Path(__file__).parents[1] / "golden" / "blocks"
READER = MarkdownIt("commonmark").enable("table")

REVENUE = Table(
    (Column("region"), Column("revenue", ColumnType.NUMBER), Column("since", ColumnType.DATE), Column("closed")),
    (
        ("Porto", 1_204_500.5, "2024-01-31", True),
        ("*North* | [South](https://evil.example)", None, "2023-12-01", False),
    ),
    total_rows=312,
    title="Revenue by region",
    source=Link("Open in Databricks", "https://adb-1.azuredatabricks.net/sql/editor/q(1)?o=7"),
)
RUN = Facts((Fact("Job", "nightly_load"), Fact("State", "FAILED"), Fact("Error", "<b>disk_full_</b>")), "Run 42")
REPAIR = Actions(
    (
        Action("repair", "Repair the run", {"proposal": "p-1"}, ActionStyle.POSITIVE),
        Action("dismiss", "Dismiss", {"proposal": "p-1"}),
        Action("cancel_run", "Cancel the run", {"proposal": "p-1"}, ActionStyle.DESTRUCTIVE),
    )
)
CASES: dict[str, list[Block]] = {
    "table": [REVENUE],
    "no_rows": [Table((Column("region"),), ())],
    "wide_table": [Table(tuple(Column(f"c{n}") for n in range(12)), (tuple(range(12)),))],
    "chart": [
        Chart(
            ChartKind.LINE,
            (Series("2025", (Point("Q1", 1.5), Point("Q2", 2.0))), Series("2026", (Point("Q2", -80.0),))),
            "Orders",
            "quarter",
        )
    ],
    "facts_and_actions": [RUN, REPAIR],
    "code": [Code("SELECT `a`\n-- ```\nFROM t;\n", "sql", "Query")],
    "text_left_open": [Text("See **this** and ![x](https://evil.example/?d=1):\n\n```py\nx = 1")],
    "image": [Image("https://charts.example/a.png", "Orders per [quarter]")],
    "citation": [Citation(2, "Report", "https://wiki.example/r"), Citation(3, "No address", "javascript:alert(1)")],
}


def golden(name: str, made: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(made, encoding="utf-8")
    assert made == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_a_block_is_written_as_markdown_and_as_plain_text_as_it_was(name: str) -> None:
    blocks = CASES[name]
    golden(f"{name}.md", "\n\n".join(markdown(block, ENGLISH) for block in blocks) + "\n")
    golden(f"{name}.txt", "\n".join(plain_text(block, ENGLISH) for block in blocks) + "\n")


@pytest.mark.parametrize("name", ["table", "no_rows", "wide_table", "chart", "facts_and_actions"])
def test_a_block_is_drawn_on_a_card_as_it_was(name: str) -> None:
    golden(f"{name}.card.json", json.dumps(adaptive_card(CASES[name], ENGLISH), indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("name", ["code", "text_left_open", "image", "citation"])
def test_what_a_card_does_not_show_makes_no_card(name: str) -> None:
    assert adaptive_card(CASES[name], ENGLISH) is None


def test_an_image_is_shown_only_where_its_host_is_trusted() -> None:
    image = CASES["image"][0]
    assert markdown(image, ENGLISH, frozenset({"charts.example"})).startswith("![")
    assert markdown(image, ENGLISH).startswith("[")


def test_the_notes_of_a_block_are_in_the_persons_language() -> None:
    german = translator_for("de-DE")
    card = json.dumps(adaptive_card([REVENUE], german), ensure_ascii=False)
    for shown in (card, markdown(REVENUE, german), plain_text(REVENUE, german)):
        assert "2 von 312 Zeilen" in shown


def words_in(token: Token) -> str:
    return "".join(child.content for child in token.children or [])


def in_one_line(text: str) -> str:
    return " ".join("".join(" " if category(each) == "Cc" else each for each in text).split())


def cells_in(text: str) -> list[str]:
    """The words of every cell that a reader of Markdown finds; fails where one holds anything else."""
    tokens = READER.parse(text)
    inline = [token for token in tokens if token.type == "inline"]
    assert {child.type for token in inline for child in token.children or []} <= {"text", "text_special"}
    return [words_in(token) for token in inline]


DATA = st.text(st.sampled_from("ab 1\\`*_[]()<>|~&!#:-+.\"'\n\t/@=ü") | st.characters(), max_size=20)


@settings(max_examples=200)
@given(st.lists(st.tuples(DATA, DATA), min_size=1, max_size=3))
def test_data_in_a_table_reads_as_it_is(rows: list[tuple[str, str]]) -> None:
    table = within_limits(Table((Column("a"), Column("b")), tuple(rows)))
    assert isinstance(table, Table)
    shown = [in_one_line(str(cell)) for row in table.rows for cell in row]
    assert cells_in(markdown(table, ENGLISH)) == ["a", "b", *shown]


@settings(max_examples=200)
@given(DATA, DATA)
def test_data_in_facts_reads_as_it_is(label: str, value: str) -> None:
    facts = within_limits(Facts((Fact(label, value),)))
    assert isinstance(facts, Facts)
    shown = f"{in_one_line(facts.facts[0].label)}: {in_one_line(facts.facts[0].value)}"
    assert cells_in(markdown(facts, ENGLISH)) == [shown.strip()]


@settings(max_examples=100)
@given(st.builds(Code, DATA.map(lambda code: code * 5), WORDS))
def test_code_stays_inside_its_fence(code: Code) -> None:
    shown = within_limits(code)
    assert isinstance(shown, Code)
    (fence,) = READER.parse(markdown(shown, ENGLISH))
    assert fence.type == "fence"


def units(card: dict[str, Any] | None) -> int:
    return utf16_units(json.dumps(card, ensure_ascii=False, separators=(",", ":")))


@settings(max_examples=50)
@given(st.lists(BLOCKS, max_size=5))
def test_every_block_is_shown_somehow_and_every_card_is_small_enough(blocks: list[Block]) -> None:
    blocks = [within_limits(block) for block in blocks]
    for block in blocks:
        markdown(block, ENGLISH)
        plain_text(block, ENGLISH)
    assert units(adaptive_card(blocks, ENGLISH)) <= CARD_LIMIT_UTF16


def test_the_largest_card_is_small_enough_and_says_what_it_leaves_out() -> None:
    long = "\u20ac\U0001f600" * 5_000
    columns = tuple(Column(f"{n}{long}") for n in range(30))
    table = within_limits(Table(columns, ((long,) * 30,) * 200, title=long, source=Link(long, "https://e.example/")))
    actions = within_limits(
        Actions(tuple(Action(long, long, {f"{n}{long}": long for n in range(9)}) for _ in range(9)))
    )
    for blocks in ([table], [table] * 6, [table, within_limits(RUN), actions]):
        card = adaptive_card(blocks, ENGLISH)
        assert units(card) <= CARD_LIMIT_UTF16
        drawn = json.dumps(card, ensure_ascii=False)
        assert drawn.count(" of 200 rows. Showing 8 of 30 columns.") >= sum(block is table for block in blocks)
    assert card is not None
    assert len(card["actions"]) == 6


def test_a_card_has_as_many_rows_as_a_person_reads() -> None:
    card = adaptive_card([Table((Column("n"),), tuple((n,) for n in range(100)))], ENGLISH)
    assert card is not None
    assert len(card["body"][0]["rows"]) == 1 + MAX_ROWS_SHOWN
    assert card["body"][1]["text"] == "Showing 30 of 100 rows."
