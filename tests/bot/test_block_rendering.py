"""Blocks as Markdown, as plain text and as a card, to the letter. UPDATE_GOLDEN=1 writes the files anew: read them."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any
from unicodedata import category

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from app.bot.channel import CARD_LIMIT_UTF16
from app.bot.rendering.adaptive_card import adaptive_card
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
    Choice,
    Code,
    Column,
    ColumnType,
    Fact,
    Facts,
    Folded,
    Form,
    Forms,
    Image,
    Input,
    Link,
    Point,
    Series,
    Table,
    Text,
)
from app.content.citation import Citation
from app.translation import ENGLISH, translator_for
from tests.content.test_blocks import BLOCKS, PIXEL, WORDS
from tests.fakes.golden import assert_golden, assert_golden_json

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
MONTHS = (Point("2024-01-01", 333_600_000.0), Point("2024-02-01", 290_000_500.0), Point("2024-03-01", 9_999.0))


def result_of_months(count: int) -> list[Block]:
    """A chart with its table, its SQL, what was done and buttons, as an answer about data has them."""
    months = [(f"{1992 + n // 12}-{1 + n % 12:02}-01", f"{130_000_000 + n * 1_234_567}.89") for n in range(count)]
    series = (Series("revenue", tuple(Point(label, float(value)) for label, value in months)),)
    chart = Chart(ChartKind.LINE, series, "Revenue by month", "month", "revenue", beside_table=True)
    columns = (Column("month", ColumnType.DATE), Column("revenue", ColumnType.NUMBER))
    sql = "SELECT month(o_orderdate), sum(o_totalprice) AS revenue\nFROM orders\nGROUP BY 1\nORDER BY 1"
    done = Facts((Fact("Asking Genie", "How did revenue develop by month?"),))
    folded = [Folded("Show SQL", (Code(sql, "sql"),)), Folded("What I did", (done,))]
    questions = ("Show revenue by quarter", "Show revenue by segment", "Who are the top 5 customers by revenue?")
    asked = Actions(tuple(Action("ask", question, {"question": question}) for question in questions))
    source = Link(
        "Open in Databricks", "https://adb-1.azuredatabricks.net/genie/rooms/01f05a1e000010008000000000000001"
    )
    return [chart, Table(columns, tuple(months[:20]), count, source=source), folded[0], asked, folded[1]]


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
    **{
        f"chart_{kind}": [
            Chart(
                kind,
                (Series("plan", MONTHS), *([Series("sold", MONTHS[:2])] if "ed" in kind else [])),
                "Revenue by month",
                "month",
                "revenue",
                Link("Open in Databricks", "https://adb-1.azuredatabricks.net/sql/1"),
            )
        ]
        for kind in ChartKind
    },
    "chart_of_losses": [
        Chart(ChartKind.VERTICAL_BAR, (Series("", (*MONTHS, Point("2024-04-01", -80.0))),), "Profit", "month", "profit")
    ],
    "chart_with_equal_labels": [
        Chart(ChartKind.PIE, (Series("", (Point("A", 1.0), Point("A", 2.0), Point("A (2)", 3.5))),), "Shares")
    ],
    "chart_with_long_labels": [
        Chart(
            ChartKind.VERTICAL_BAR,
            (Series("", (Point("Refrigerators and freezers for shops", 9_300_000.0), Point("Furniture", 120.0))),),
            "Revenue by segment",
            "segment",
            "revenue",
        )
    ],
    "chart_with_a_gap": [
        Chart(ChartKind.LINE, (Series("", (MONTHS[0], Point("2024-02-01", None), MONTHS[2])),), "Gap", "month", "sold")
    ],
    "chart_with_a_gap_beside_another": [
        Chart(ChartKind.LINE, (Series("sold", (MONTHS[0], MONTHS[2])), Series("plan", MONTHS)), "Gap", "month")
    ],
    "chart_that_is_a_table": [
        Chart(ChartKind.PIE, (Series("", (Point("A", -1.0), Point("B", 2.0))),), "Losses", "part", "share")
    ],
    "result_with_sql": [
        Table(
            (
                Column("year", ColumnType.NUMBER, plain=True),
                Column("revenue", ColumnType.NUMBER),
                Column("exact", ColumnType.NUMBER),
            ),
            ((2024, 1204500.5, "12345678901234567890.10"), (2025, -80, None)),
            title="Revenue",
        ),
        Folded("Show SQL", (Code("SELECT year, sum(x)\nFROM t", "sql"),)),
        Folded("How I got there", (Text("I looked for **revenue**."), Facts((Fact("Asked", "Genie"),)))),
    ],
    "answer_about_data": result_of_months(12),
    "facts_and_actions": [RUN, REPAIR],
    "forms": [
        RUN,
        REPAIR,
        Forms(
            (
                Form(
                    "Change *parameters*",
                    (Input("p0", "batch_size", "500"), Input("p1", "<b>mode</b>", "fast")),
                    Action("repair", "Repair with these", {"proposal": "p-1"}, ActionStyle.POSITIVE),
                    "p-1",
                ),
                Form(
                    "Snooze",
                    (Input("hours", "For how long", "4", (Choice("1", "1 hour"), Choice("4", "4 hours"))),),
                    Action("snooze", "Snooze", {"incident": "i-1"}),
                ),
            )
        ),
    ],
    "code": [Code("SELECT `a`\n-- ```\nFROM t;\n", "sql", "Query")],
    "text_left_open": [Text("See **this** and ![x](https://evil.example/?d=1):\n\n```py\nx = 1")],
    "image": [Image("https://charts.example/a.png", "Orders per [quarter]")],
    "citation": [Citation(2, "Report", "https://wiki.example/r"), Citation(3, "No address", "javascript:alert(1)")],
}


NOT_ON_A_CARD = ["code", "text_left_open", "image", "citation"]
ON_A_CARD = [name for name in CASES if name not in NOT_ON_A_CARD]


@pytest.mark.parametrize("name", CASES)
def test_a_block_is_written_as_markdown_and_as_plain_text_as_it_was(name: str) -> None:
    blocks = CASES[name]
    assert_golden(f"blocks/{name}.md", "\n\n".join(markdown(block, ENGLISH) for block in blocks) + "\n")
    assert_golden(f"blocks/{name}.txt", "\n".join(plain_text(block, ENGLISH) for block in blocks) + "\n")


@pytest.mark.parametrize("name", ON_A_CARD)
def test_a_block_is_drawn_on_a_card_as_it_was(name: str) -> None:
    assert_golden_json(f"blocks/{name}.card.json", adaptive_card(CASES[name], ENGLISH))


@pytest.mark.parametrize("name", NOT_ON_A_CARD)
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
    return " ".join(
        "".join(" " if category(each) == "Cc" or "\ufdd0" <= each <= "\ufdef" else each for each in text).split()
    )


def cells_in(text: str) -> list[str]:
    """The words of every cell that a reader of Markdown finds; fails where one holds anything else."""
    tokens = READER.parse(text)
    inline = [token for token in tokens if token.type == "inline"]
    assert {child.type for token in inline for child in token.children or []} <= {"text", "text_special"}
    return [words_in(token) for token in inline]


DATA = st.text(st.sampled_from("ab 1\\`*_[]()<>|~&!#:-+.\"'\n\t/@=ü") | st.characters(), max_size=20)


@settings(max_examples=200)
@given(st.lists(st.tuples(DATA, DATA), min_size=1, max_size=3))
@example([("", "\ufdd0")])
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
    for element in (card or {}).get("body", []):
        if element["type"] == "Image":
            element["url"] = ""
    return utf16_units(json.dumps(card, ensure_ascii=False, separators=(",", ":")))


@settings(max_examples=50)
@given(st.lists(BLOCKS, max_size=5))
def test_every_block_is_shown_somehow_and_every_card_is_small_enough(blocks: list[Block]) -> None:
    blocks = [within_limits(block) for block in blocks]
    for block in blocks:
        markdown(block, ENGLISH)
        plain_text(block, ENGLISH)
    # A channel that finds a message too large gets half of it.
    for limit, draws_charts in itertools.product((CARD_LIMIT_UTF16, CARD_LIMIT_UTF16 // 2), (True, False)):
        assert units(adaptive_card(blocks, ENGLISH, limit, draws_charts=draws_charts)) <= limit


def test_the_largest_card_is_small_enough_and_says_what_it_leaves_out() -> None:
    long = "\u20ac\U0001f600" * 5_000
    columns = tuple(Column(f"{n}{long}") for n in range(30))
    table = within_limits(Table(columns, ((long,) * 30,) * 200, title=long, source=Link(long, "https://e.example/")))
    actions = within_limits(
        Actions(tuple(Action(long, long, {f"{n}{long}": long for n in range(9)}) for _ in range(9)))
    )
    for blocks in ([table], [table] * 6, [table, within_limits(RUN), actions]):
        assert units(adaptive_card(blocks, ENGLISH, CARD_LIMIT_UTF16 // 2)) <= CARD_LIMIT_UTF16 // 2
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


def test_folded_details_are_hidden_until_their_button_is_pressed() -> None:
    card = adaptive_card(CASES["result_with_sql"], ENGLISH)
    assert card is not None
    hidden = [element["id"] for element in card["body"] if element.get("isVisible") is False]
    buttons = [element["actions"][0] for element in card["body"] if element["type"] == "ActionSet"]
    assert [button["title"] for button in buttons] == ["Show SQL", "How I got there"]
    assert [each for button in buttons for each in button["targetElements"]] == hidden
    assert len(set(hidden)) == len(hidden) == 3


def test_a_chart_of_80_months_leaves_room_for_a_whole_page_of_its_table_and_the_sql() -> None:
    card = adaptive_card(result_of_months(80), ENGLISH)
    assert card is not None
    assert [each["type"] for each in card["body"]][:2] == ["Chart.Line", "Table"]
    assert len(card["body"][1]["rows"]) == 21
    assert [each["type"] for each in card["body"] if "isVisible" in each] == ["CodeBlock", "FactSet"]


def test_a_card_has_images_within_its_limit_and_else_tables() -> None:
    (chart,) = CASES["chart_line"]
    assert isinstance(chart, Chart)
    pictured = replace(chart, image=Image("", "Revenue by month as a line", PIXEL))
    for limit, images in ((len(PIXEL), 1), (len(PIXEL) * 2, 2), (0, 0)):
        card = adaptive_card([pictured, pictured], ENGLISH, draws_charts=False, image_limit=limit)
        assert card is not None
        types = [element["type"] for element in card["body"]]
        assert (types.count("Image"), types.count("Table")) == (images, 2 - images)
