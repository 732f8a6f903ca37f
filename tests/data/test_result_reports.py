"""Results from public bug reports of Databricks' drivers and of tools that read its statement execution API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.bot.rendering.adaptive_card import adaptive_card
from app.common.identity import APP_IDENTITY
from app.content.blocks import Cell
from app.data.chart_choice import chart_of
from app.data.more_rows import first_rows
from app.data.present import for_model
from app.data.result_set import result_set
from app.databricks.sql_statements import SqlStatements
from app.translation import translator_for
from tests.fakes.workspaces import workspace_at

CELLS: dict[str, tuple[str, object, Cell]] = {
    "databricks/databricks-jdbc#1083": ("INTERVAL DAY TO SECOND", "1 02:03:04.000000000", "1 02:03:04.000000000"),
    "databricks/databricks-jdbc#1658": ("ARRAY", '[null,["a",null]]', '[null,["a",null]]'),
    "databricks/databricks-jdbc#1505": ("MAP", {"0": [34277, None]}, '{"0": [34277, null]}'),
    "databricks/databricks-jdbc#1044": ("STRUCT", {"foo": None, "é": "x"}, '{"foo": null, "é": "x"}'),
    "databricks/databricks-jdbc#1006": ("VARIANT", '{"a":"{\\"b\\":1}"}', '{"a":"{\\"b\\":1}"}'),
    "databricks/databricks-jdbc#1004": ("STRUCT", None, None),
    "databricks/databricks-jdbc#1116": ("TIMESTAMP", "2025-11-21T23:30:49.185645Z", "2025-11-21T23:30:49.185645Z"),
    "databricks/databricks-sql-python#786": ("TIMESTAMP_NTZ", "2024-03-31T02:30:00.000", "2024-03-31T02:30:00.000"),
    "databricks/databricks-sql-python#336": ("VOID", None, None),
    "databricks/databricks-sql-nodejs#151": ("DECIMAL", None, None),
    "delta-io/delta-rs#2221": ("DECIMAL(32,16)", "0E-16", "0.0000000000000000"),
    "apache/livy#296": ("DECIMAL(10,2)", "1.50", "1.50"),
    "MicrosoftDocs/azure-docs#95018": (
        "DECIMAL(38,38)",
        "0.98765432109876543210987654321098765432",
        "0.98765432109876543210987654321098765432",
    ),
    "Azure/azure-databricks-client#247": ("BIGINT", 9007199254740993, 9007199254740993),
    "Azure/azure-databricks-client#247, boolean": ("BOOLEAN", True, True),
}


def manifest(*columns: tuple[str, str], **more: object) -> Mapping[str, Any]:
    return {"schema": {"columns": [{"name": name, "type_name": type_name} for name, type_name in columns]}, **more}


@pytest.mark.parametrize(("type_name", "value", "cell"), CELLS.values(), ids=CELLS.keys())
def test_a_reported_value_is_what_its_type_says(type_name: str, value: object, cell: Cell) -> None:
    read = result_set(manifest(("v", type_name)), [[value]]).rows[0][0]
    assert (read, type(read)) == (cell, type(cell))


def test_columns_of_one_name_keep_their_values() -> None:
    """databricks/databricks-sql-nodejs#118, langchain-ai/langchain-ibm#237"""
    columns = ("region", "STRING"), ("sum(x)", "DOUBLE"), ("sum(x)", "DOUBLE")
    result = result_set(manifest(*columns), [["EU", "1.5", "2.5"], ["US", "3.5", "4.5"]])
    assert result.rows[0] == ("EU", 1.5, 2.5)
    assert '["region", "sum(x)", "sum(x)"]\n["EU", 1.5, 2.5]' in for_model(result)
    chart = chart_of(result)
    assert chart is not None
    assert [point.value for series in chart.series for point in series.points] == [1.5, 3.5, 2.5, 4.5]
    card = str(adaptive_card((chart,), translator_for("en")))
    assert "'sum(x)'" in card
    assert "'sum(x) (2)'" in card


ENDS: dict[str, tuple[Mapping[str, Any], int, int | None]] = {
    # Ended and closed at once, with no rows to fetch.
    "databricks/databricks-jdbc#1400, no rows": (
        {"status": {"state": "CLOSED"}, "manifest": manifest(("a", "INT"), total_row_count=0, total_chunk_count=0)},
        0,
        0,
    ),
    "databricks/databricks-jdbc#1109": (
        {
            "status": {"state": "CLOSED"},
            "manifest": manifest(("a", "INT"), total_row_count=1),
            "result": {"data_array": [["1"]]},
        },
        1,
        1,
    ),
    "ray-project/ray#54369": (
        {"status": {"state": "SUCCEEDED"}, "manifest": manifest(("a", "INT"), total_row_count=0), "result": {}},
        0,
        0,
    ),
    "spiceai/spiceai#7112": (
        {"status": {"state": "SUCCEEDED"}, "manifest": manifest(("a", "INT"), total_row_count=7)},
        0,
        7,
    ),
    "stanfordnlp/dspy#1995": (
        {
            "status": {"state": "SUCCEEDED"},
            "manifest": manifest(("a", "INT")),
            "result": {"row_count": 0, "data_array": None},
        },
        0,
        None,
    ),
}


@pytest.mark.parametrize(("response", "rows", "total"), ENDS.values(), ids=ENDS.keys())
async def test_an_end_that_other_readers_stumbled_over_is_a_result(
    response: Mapping[str, Any], rows: int, total: int | None
) -> None:
    asked: list[Mapping[str, Any]] = []

    async def execute(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"statement_id": "s1", **response})

    app = web.Application()
    app.add_routes([web.post("/api/2.0/sql/statements", execute)])
    async with TestServer(app) as server, workspace_at(f"http://127.0.0.1:{server.port}") as workspace:
        result, unread = first_rows(await SqlStatements(workspace, "w").run("select 1", APP_IDENTITY))
    assert (len(result.rows), result.total_rows, unread) == (rows, total, None)
    # bytebase/bytebase#20190: a larger result would be refused as a whole.
    assert 0 < asked[0]["byte_limit"] < 20_214_400
