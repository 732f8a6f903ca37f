"""Blocks as Markdown, as plain text and as a card, to the letter. UPDATE_GOLDEN=1 writes the files anew: read them."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from decimal import Decimal
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
from app.bot.rendering.block_text import MAX_ROWS_SHOWN, main_numbers, plain_text, table_of
from app.bot.rendering.card_chart import chart_element
from app.bot.rendering.markdown import utf16_units
from app.bot.rendering.number_text import number_text
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


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ("en", "1,204,500.50"),
        ("de-AT", "1.204.500,50"),
        ("fr", "1\u202f204\u202f500,50"),
        ("es", "1.204.500,50"),
        ("ja", "1,204,500.50"),
        ("pt", "1,204,500.50"),
    ],
)
def test_a_decimal_is_written_in_the_persons_locale_with_all_its_digits(locale: str, shown: str) -> None:
    assert number_text("1204500.50", translator_for(locale)) == shown


@pytest.mark.parametrize(
    ("value", "plain", "shown"),
    [
        ("12345678901234567890123.4567890123", False, "12,345,678,901,234,567,890,123.4567890123"),
        ("9223372036854775807", False, "9,223,372,036,854,775,807"),
        ("3.336E8", False, "333,600,000"),
        (3.336e8, False, "333,600,000"),
        (-0.5, False, "-0.5"),
        (1e-7, False, "0.0000001"),
        (2026, True, "2026"),
        ("2026", True, "2026"),
        (-1000, False, "-1,000"),
        (999, False, "999"),
        ("007", False, "007"),
        ("about 5", False, "about 5"),
        ("1e999999999", False, "1e999999999"),
        ("٣٣٣٣", False, "٣٣٣٣"),
    ],
)
def test_a_number_loses_no_digit(value: str | float, plain: bool, shown: str) -> None:
    assert number_text(value, ENGLISH, plain=plain) == shown


@settings(max_examples=200)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=4) | st.integers() | st.floats(-1e15, 1e15))
def test_a_number_read_back_is_the_same(value: Decimal | float) -> None:
    read = Decimal(number_text(value if isinstance(value, float) else str(value), ENGLISH).replace(",", ""))
    assert read == (Decimal(repr(value)) if isinstance(value, float) else Decimal(value))


def drawn_values(element: dict[str, Any]) -> list[float]:
    """Of a chart's element, multiplied by the unit that its axis or title names."""
    named = element["title"] + element.get("yAxisTitle", "") + element.get("xAxisTitle", "")
    units_named = {"thousands": 3, "millions": 6, "billions": 9, "trillions": 12}
    power = next((power for name, power in units_named.items() if name in named), 0)
    found = []
    for item in element["data"]:
        values = item.get("values", [item])
        labels = [value.get("x", value.get("legend")) for value in values]
        assert len(set(labels)) == len(labels)
        found += [float(Decimal(repr(value.get("y", value.get("value")))).scaleb(power)) for value in values]
    return found


AMOUNTS = st.none() | st.integers(-(10**14), 10**14).map(float) | st.floats(-1e6, 1e6)


@settings(max_examples=200)
@given(
    st.sampled_from(ChartKind),
    st.lists(st.lists(st.builds(Point, st.sampled_from("ABC"), AMOUNTS), min_size=1), min_size=1, max_size=3),
)
def test_no_drawn_number_differs_from_the_table(kind: ChartKind, points: list[list[Point]]) -> None:
    series = tuple(Series("same", tuple(each)) for each in points[: 1 if kind is ChartKind.PIE else None])
    chart = Chart(kind, series, "Sales", "", "")
    element = chart_element(chart, ENGLISH)
    if element is None:
        return
    assert sorted(drawn_values(element)) == pytest.approx(
        sorted(cell for row in table_of(chart).rows for cell in row[1:] if isinstance(cell, float)), rel=1e-12
    )
    legends = [item["legend"] for item in element["data"] if "values" in item]
    assert len(set(legends)) == len(legends)
    if "Line" not in element["type"]:
        assert min(drawn_values(element)) >= 0


@pytest.mark.parametrize(
    ("labels", "drawn"),
    [
        ([f"2024-0{n}-01T00:00:00.000Z" for n in range(1, 5)], "Chart.VerticalBar"),
        ([f"2024-0{n}-01T08:00:00.000Z" for n in range(1, 5)], "Chart.HorizontalBar"),
        ([f"Q{n}" for n in range(1, 9)], "Chart.VerticalBar"),
        (["MIDDLE EAST", "AFRICA", "ASIA", "EUROPE", "AMERICA"], "Chart.HorizontalBar"),
        # So many would be higher than any screen.
        ([f"Customer {n}" for n in range(31)], "Chart.VerticalBar"),
    ],
)
def test_bars_lie_across_where_their_labels_would_be_cut(labels: list[str], drawn: str) -> None:
    chart = Chart(ChartKind.VERTICAL_BAR, (Series("", tuple(Point(label, 1.0) for label in labels)),))
    element = chart_element(chart, ENGLISH)
    assert element is not None
    assert element["type"] == drawn


@pytest.mark.parametrize(
    ("labels", "drawn"),
    [
        (["2024-01-01T00:00:00.000Z", "2024-02-01 00:00"], ["2024-01-01", "2024-02-01"]),
        (["2024-02", "2024-01"], ["2024-01-01", "2024-02-01"]),
        # A client reads a day alone as of another time zone than an hour.
        (["2024-01-01T00:00:00", "2024-01-01T01:00:00"], ["2024-01-01T00:00:00", "2024-01-01T01:00:00"]),
        (["2024-Q1", "2024-Q2"], ["2024-Q1", "2024-Q2"]),
        (["1998", "1999"], ["1998", "1999"]),
    ],
)
def test_a_time_is_drawn_as_a_day_where_all_are_days(labels: list[str], drawn: list[str]) -> None:
    chart = Chart(ChartKind.LINE, (Series("", tuple(Point(label, 1.0) for label in labels)),), "Sales", "", "")
    element = chart_element(chart, ENGLISH)
    assert element is not None
    assert [value["x"] for value in element["data"][0]["values"]] == drawn


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("chart_of_losses", "Chart.Line"),
        ("chart_with_a_gap", "Table"),
        ("chart_with_a_gap_beside_another", "Chart.VerticalBar.Grouped"),
        ("chart_that_is_a_table", "Table"),
        ("chart_with_equal_labels", "Chart.Pie"),
        ("chart_stacked_bar", "Chart.VerticalBar.Grouped"),
        ("chart_vertical_bar", "Chart.VerticalBar"),
        ("chart_with_long_labels", "Chart.HorizontalBar"),
    ],
)
def test_a_chart_is_drawn_as_what_shows_its_numbers(name: str, drawn: str) -> None:
    card = adaptive_card(CASES[name], ENGLISH)
    assert card is not None
    assert drawn in [element["type"] for element in card["body"]]


def test_folded_details_are_hidden_until_their_button_is_pressed() -> None:
    card = adaptive_card(CASES["result_with_sql"], ENGLISH)
    assert card is not None
    hidden = [element["id"] for element in card["body"] if element.get("isVisible") is False]
    buttons = [element["actions"][0] for element in card["body"] if element["type"] == "ActionSet"]
    assert [button["title"] for button in buttons] == ["Show SQL", "How I got there"]
    assert [each for button in buttons for each in button["targetElements"]] == hidden
    assert len(set(hidden)) == len(hidden) == 3


def test_the_main_numbers_of_a_pie_count_the_sum_of_the_rest_as_no_value() -> None:
    slices = (*(Point(f"r{n}", float(10 + n)) for n in range(8)), Point("Other", 70.0))
    pie = Chart(ChartKind.PIE, (Series("orders", slices),), "Orders", sums_up_rest=True)
    assert main_numbers(pie, ENGLISH) == "Orders: highest 17 (r7); Other: 70"
    assert main_numbers(replace(pie, sums_up_rest=False), ENGLISH) == "Orders: highest 70 (Other), lowest 10 (r0)"


def test_the_main_numbers_of_a_chart_stand_in_the_text() -> None:
    (chart,) = CASES["chart_line"]
    assert isinstance(chart, Chart)
    assert main_numbers(chart, ENGLISH).startswith("Revenue by month: 2024-01-01: 333,600,000; 2024-02-01: 290,000,500")
    many = Chart(ChartKind.LINE, (Series("", tuple(Point(f"{n}", 1000.0 * n) for n in range(9))),), "Orders")
    assert main_numbers(many, translator_for("de")).startswith("Orders: ")
    assert "8.000" in main_numbers(many, translator_for("de"))


def test_a_number_that_no_float_holds_is_written_with_all_its_digits() -> None:
    points = (Point("A", 1.2345678901234567e19, "12345678901234567890.10"), Point("B", 2.0))
    chart = Chart(ChartKind.VERTICAL_BAR, (Series("", points),), "Sales", "region", "sales")
    assert main_numbers(chart, ENGLISH) == "Sales: A: 12,345,678,901,234,567,890.10; B: 2"
    assert "| A | 12,345,678,901,234,567,890.10 |" in markdown(chart, ENGLISH)
    element = chart_element(chart, ENGLISH)
    assert element is not None
    assert [point["y"] for point in element["data"]] == [12345678.901234567, 2e-12]


def test_where_charts_are_not_drawn_there_is_an_image_of_the_chart_or_its_table() -> None:
    (chart,) = CASES["chart_line"]
    assert isinstance(chart, Chart)
    image = Image("", "Revenue by month as a line", PIXEL)
    card = adaptive_card([replace(chart, image=image)], ENGLISH, draws_charts=False)
    assert card is not None
    assert_golden_json("blocks/chart_as_an_image.card.json", card)
    assert card["body"][1:] == [
        {"type": "Image", "url": f"data:image/png;base64,{PIXEL}", "altText": "Revenue by month as a line"}
    ]
    card = adaptive_card([chart], ENGLISH, draws_charts=False)
    assert card is not None
    assert "Table" in [element["type"] for element in card["body"]]


def test_a_chart_of_80_months_leaves_room_for_a_whole_page_of_its_table_and_the_sql() -> None:
    card = adaptive_card(result_of_months(80), ENGLISH)
    assert card is not None
    assert [each["type"] for each in card["body"]][:2] == ["Chart.Line", "Table"]
    assert len(card["body"][1]["rows"]) == 21
    assert [each["type"] for each in card["body"] if "isVisible" in each] == ["CodeBlock", "FactSet"]


def test_a_chart_beside_its_table_writes_no_number_twice() -> None:
    blocks = result_of_months(80)
    for text in (markdown(blocks[0], ENGLISH), plain_text(blocks[0], ENGLISH)):
        assert text.strip("*") == "Revenue by month"
    for card in (adaptive_card(blocks, ENGLISH, draws_charts=False), adaptive_card(result_of_months(900), ENGLISH)):
        assert card is not None
        assert [each["type"] for each in card["body"]][:2] == ["TextBlock", "Table"]
        assert card["body"][0]["text"] == "Revenue by month"


def test_a_card_has_images_within_its_limit_and_else_tables() -> None:
    (chart,) = CASES["chart_line"]
    assert isinstance(chart, Chart)
    pictured = replace(chart, image=Image("", "Revenue by month as a line", PIXEL))
    for limit, images in ((len(PIXEL), 1), (len(PIXEL) * 2, 2), (0, 0)):
        card = adaptive_card([pictured, pictured], ENGLISH, draws_charts=False, image_limit=limit)
        assert card is not None
        types = [element["type"] for element in card["body"]]
        assert (types.count("Image"), types.count("Table")) == (images, 2 - images)
