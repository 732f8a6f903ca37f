"""What a chart draws, and how its numbers are written beside it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bot.rendering.adaptive_card import adaptive_card
from app.bot.rendering.block_markdown import markdown
from app.bot.rendering.block_text import main_numbers, plain_text, table_of
from app.bot.rendering.card_chart import chart_element
from app.bot.rendering.number_text import number_text
from app.content.blocks import (
    Chart,
    ChartKind,
    Image,
    Point,
    Series,
)
from app.translation import ENGLISH, translator_for
from tests.bot.test_block_rendering import CASES, result_of_months
from tests.content.test_blocks import PIXEL
from tests.fakes.golden import assert_golden_json

AMOUNTS = st.none() | st.integers(-(10**14), 10**14).map(float) | st.floats(-1e6, 1e6)


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


def test_a_chart_beside_its_table_writes_no_number_twice() -> None:
    blocks = result_of_months(80)
    for text in (markdown(blocks[0], ENGLISH), plain_text(blocks[0], ENGLISH)):
        assert text.strip("*") == "Revenue by month"
    for card in (adaptive_card(blocks, ENGLISH, draws_charts=False), adaptive_card(result_of_months(900), ENGLISH)):
        assert card is not None
        assert [each["type"] for each in card["body"]][:2] == ["TextBlock", "Table"]
        assert card["body"][0]["text"] == "Revenue by month"
