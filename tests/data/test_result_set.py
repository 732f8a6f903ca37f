"""A result's values are typed by its schema, and no number changes on the way."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.content.blocks import Cell, ChartKind
from app.data.chart_choice import chart_of
from app.data.present import for_model
from app.data.result_set import MAX_ROWS, ResultColumn, ResultSet, result_set


def one(type_name: str, value: object, name: str = "v") -> Cell:
    manifest = {"schema": {"columns": [{"name": name, "type_name": type_name}]}}
    return result_set(manifest, [[value]]).rows[0][0]


@pytest.mark.parametrize(
    ("type_name", "value", "cell"),
    [
        ("BIGINT", "9223372036854775807", 9223372036854775807),
        ("BIGINT", "3.336E8", 333600000),
        ("DOUBLE", "3.336E8", 333600000),
        ("DOUBLE", "0.1", 0.1),
        ("DOUBLE", "NaN", "NaN"),
        ("DOUBLE", "1E400", "1E400"),
        ("DECIMAL(38,2)", "123456789012345678901234567890.10", "123456789012345678901234567890.10"),
        ("DECIMAL", "1E+3", "1000"),
        ("BOOLEAN", "true", True),
        ("DATE", "2024-03-31", "2024-03-31"),
        ("TIMESTAMP", "2024-03-31T02:30:00.000Z", "2024-03-31T02:30:00.000Z"),
        ("STRING", "007", "007"),
        ("STRUCT", '{"a":1}', '{"a":1}'),
        ("INT", None, None),
        ("INT", "n/a", "n/a"),
    ],
)
def test_a_value_is_what_its_type_says(type_name: str, value: object, cell: Cell) -> None:
    assert one(type_name, value) == cell


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**37), max_value=10**37))
def test_no_decimal_loses_a_digit(number: Decimal) -> None:
    assert Decimal(str(one("DECIMAL", str(number)))) == number


def test_the_model_is_given_rows_whatever_is_in_them() -> None:
    columns = (ResultColumn("text", "STRING"), ResultColumn("n", "INT"))
    told = for_model(ResultSet(columns, (("x" * 100_000, 1), ("y", 2)), 2))
    assert told.splitlines()[2] == '["y", 2]'
    assert told.splitlines()[3].startswith("(2 of 2 rows")


def test_rows_beyond_the_limit_are_left_out_and_counted() -> None:
    manifest = {"schema": {"columns": [{"name": "n", "type_name": "INT"}]}, "total_row_count": MAX_ROWS + 5}
    result = result_set(manifest, [[str(n)] for n in range(MAX_ROWS + 5)])
    assert (len(result.rows), result.total_rows, result.is_whole) == (MAX_ROWS, MAX_ROWS + 5, False)
    assert len(result.with_more([["1"]]).rows) == MAX_ROWS


@pytest.mark.parametrize(
    "manifest", [{}, {"schema": None}, {"schema": {"columns": {}}}, {"schema": {"columns": ["a"]}}, {"schema": []}]
)
def test_a_manifest_without_columns_is_told(manifest: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no columns"):
        result_set(manifest, [["1"]])


def test_years_and_ids_are_plain_and_no_measure() -> None:
    result = ResultSet(
        (ResultColumn("order_year", "INT"), ResultColumn("revenue", "DOUBLE")), ((1992, 1.5), (1993, None))
    )
    assert [column.is_plain for column in result.columns] == [True, False]
    chart = chart_of(result)
    assert chart is not None
    assert [(point.label, point.value) for point in chart.series[0].points] == [("1992", 1.5), ("1993", None)]
    assert chart.chart is ChartKind.LINE


@pytest.mark.parametrize(
    ("values", "drawn"), [((1.0, 2.0), True), ((1.0, -2.0), False), ((1.0, None), False)], ids=["parts", "loss", "gap"]
)
def test_a_pie_is_drawn_of_parts_alone(values: tuple[float | None, ...], *, drawn: bool) -> None:
    columns = (ResultColumn("region", "STRING"), ResultColumn("revenue", "DOUBLE"))
    result = ResultSet(columns, tuple((f"r{n}", value) for n, value in enumerate(values)))
    assert (chart_of(result, ChartKind.PIE) is not None) == drawn


def test_the_smallest_values_of_a_pie_are_one_slice_so_that_its_sum_stays() -> None:
    columns = (ResultColumn("month", "DATE"), ResultColumn("revenue", "DOUBLE"))
    result = ResultSet(columns, tuple((f"1992-{n:02}-01", float(n % 7)) for n in range(1, 81)))
    chart = chart_of(result, ChartKind.PIE, other="Other")
    assert chart is not None
    *largest, other = chart.series[0].points
    assert {point.value for point in largest} == {6.0}
    assert [point.label for point in largest] == sorted(point.label for point in largest)
    assert other.label == "Other"
    assert chart.sums_up_rest
    assert sum(point.value or 0 for point in chart.series[0].points) == sum(n % 7 for n in range(1, 81))


@pytest.mark.parametrize(
    ("countries", "wanted", "drawn"),
    [
        (30, None, ChartKind.VERTICAL_BAR),
        (31, None, None),
        (31, ChartKind.LINE, ChartKind.LINE),
        (31, ChartKind.PIE, ChartKind.PIE),
    ],
)
def test_more_categories_than_a_person_compares_are_drawn_only_where_asked_for(
    countries: int, wanted: ChartKind | None, drawn: ChartKind | None
) -> None:
    columns = (ResultColumn("country", "STRING"), ResultColumn("revenue", "DOUBLE"))
    chart = chart_of(ResultSet(columns, tuple((f"c{n}", 1.0) for n in range(countries))), wanted)
    assert (chart.chart if chart else None) is drawn


def test_a_chart_keeps_the_digits_that_its_values_lose_and_adds_up_the_rest_exactly() -> None:
    columns = (ResultColumn("country", "STRING"), ResultColumn("revenue", "DECIMAL"))
    rows = tuple((f"c{n}", f"{n}2345678901234567890.{n:02}") for n in range(1, 13))
    bars, pie = (chart_of(ResultSet(columns, rows), kind, other="Other") for kind in (None, ChartKind.PIE))
    assert bars is not None
    assert [point.exact for point in bars.series[0].points] == [row[1] for row in rows]
    assert pie is not None
    rest = pie.series[0].points[-1]
    assert (rest.label, rest.exact) == ("Other", "109382715604938271560.10")
    cells: list[Cell] = ["0.10", 9_007_199_254_740_993, 5, 2.0, "134.89", 3.336e8]
    whole = chart_of(ResultSet(columns, tuple((f"c{n}", cell) for n, cell in enumerate(cells))))
    assert whole is not None
    assert [point.exact for point in whole.series[0].points] == ["0.10", "9007199254740993", "", "", "", ""]
