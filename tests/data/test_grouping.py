"""Sums of stored rows: no digit is lost, and what cannot be added is refused."""

from __future__ import annotations

from decimal import Context, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.content.blocks import Cell
from app.data.grouping import GroupingError, grouped
from app.data.result_set import ResultColumn, ResultSet, result_set

MONTH, REGION = ResultColumn("month", "DATE"), ResultColumn("region", "STRING")
EXACT = Context(prec=500)


def rows(*cells: tuple[Cell, ...], type_name: str = "DECIMAL", **more: object) -> ResultSet:
    return ResultSet((MONTH, REGION, ResultColumn("revenue", type_name)), cells, **more)  # type: ignore[arg-type]


def test_rows_are_added_up_by_another_column_in_the_order_of_its_values() -> None:
    result = rows(("1", "b", "0.10"), ("1", "a", "5"), ("2", "b", "0.20"), ("2", None, "1"), ("3", "a", None))
    assert grouped(result, "region").rows == (("b", "0.30"), ("a", "5"), (None, "1"))
    assert grouped(rows(("1", "a", None)), "region").rows == (("a", None),)


@given(st.lists(st.decimals(-(10**36), 10**36, places=2), min_size=1, max_size=20))
def test_a_sum_of_decimals_is_exact(numbers: list[Decimal]) -> None:
    manifest = {"schema": {"columns": [{"name": "k", "type_name": "STRING"}, {"name": "v", "type_name": "DECIMAL"}]}}
    result = result_set(manifest, [["x", f"{number:f}"] for number in numbers])
    exact = Decimal(0)
    for number in numbers:
        exact = EXACT.add(exact, number)
    assert Decimal(str(grouped(result, "k").rows[0][1])) == exact


def test_integers_stay_integers_and_floats_are_added_without_rounding_on_the_way() -> None:
    large = rows(("1", "a", 9223372036854775807), ("2", "a", 1), type_name="BIGINT")
    assert grouped(large, "region").rows == (("a", 9223372036854775808),)
    tenths = rows(*[("1", "a", 0.1)] * 10, type_name="DOUBLE")
    assert grouped(tenths, "region").rows == (("a", 1.0),)


@pytest.mark.parametrize(
    ("result", "by", "value", "why"),
    [
        (rows(("1", "a", "1"), total_rows=2), "region", "", "not all rows"),
        (rows(("1", "a", "1"), truncated=True), "region", "", "not all rows"),
        (rows(("1", "a", "1")), "country", "", "its columns are: month, region, revenue"),
        (rows(("1", "a", "1")), "region", "month", "no numbers"),
        (rows(("1", "a", "1")), "revenue", "", "no column of numbers"),
        (rows(("1", "a", "NaN"), type_name="DOUBLE"), "region", "", "cannot be added"),
        (rows(("1", "a", "n/a")), "region", "", "cannot be added"),
        (rows(("1", "a", 1e308), ("1", "a", 1e308), type_name="DOUBLE"), "region", "", "cannot be added"),
    ],
)
def test_what_would_be_a_wrong_number_is_refused(result: ResultSet, by: str, value: str, why: str) -> None:
    with pytest.raises(GroupingError, match=why):
        grouped(result, by, value)
