"""Results that are kept: leafed through, run again, drawn again by another column. Over the stand-in warehouse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.common.caller import UNKNOWN_CALLER
from app.common.identity import UserIdentity
from app.content.blocks import FIRST_ROW, Actions, Chart, Table, Text
from app.data.present import PAGE_ROWS, RESULT
from app.data.result_set import ResultColumn, ResultSet
from app.data.result_tools import ResultTools
from app.data.stored_results import MAX_KEPT, MAX_QUERIES, StoredResult, StoredResults, stored_now
from app.databricks.credentials import PersonalAccessToken
from app.databricks.statement_chunks import NextChunk
from app.local.warehouse_stand_in import WAREHOUSE_ID
from app.models.model import ToolCall
from app.settings.sql_settings import SqlSettings
from app.sql.provider import SqlTools
from app.storage.conversations import ConversationKey
from app.storage.sqlite.sqlite_store import SqliteStore
from app.tools.base import ToolContext, ToolResult
from app.tools.registry import ToolRegistry
from tests.fakes.sample_data import DATA_TOKEN, DataWorkspace, data_workspace
from tests.fakes.tools import tool_context
from tests.fakes.workspaces import workspace_at

ORDERS = "select o_orderkey, o_orderstatus from samples.tpch.orders order by o_orderkey limit 130"
ANN = UserIdentity("ann", SecretStr(DATA_TOKEN))


@dataclass
class Data:
    """The tools of SQL and of its results; each call is one of its own."""

    workspace: DataWorkspace
    results: StoredResults
    registry: ToolRegistry
    calls: int = 0

    def context(self) -> ToolContext:
        self.calls += 1
        return replace(tool_context(), idempotency_key=f"turn-{self.calls}")

    async def run(self, tool: str, arguments: dict[str, Any], *, context: ToolContext | None = None) -> ToolResult:
        return await self.registry.run(ToolCall("1", tool, json.dumps(arguments)), context or self.context())

    async def sql(self, sql: str) -> ToolResult:
        result = await self.run("run_sql", {"sql": sql, "title": "Orders"})
        assert result.succeeded, result.text
        return result

    async def next_rows(self, table: Table, *, shown: int = PAGE_ROWS, **context: Any) -> ToolResult:
        """As the button of `table` calls it, of which `shown` rows were shown."""
        assert table.page is not None
        data = {name: value for name, value in table.page.next_rows.data.items() if name != "tool"}
        first = table.page.first_row + shown
        return await self.run("next_rows", {**data, FIRST_ROW: str(first)}, **context)

    @property
    def executed(self) -> int:
        return len(self.workspace.warehouse.executed)


@asynccontextmanager
async def data(folder: Path, rows_per_chunk: int = 1000) -> AsyncIterator[Data]:
    token = PersonalAccessToken(SecretStr(DATA_TOKEN))
    async with (
        data_workspace(rows_per_chunk=rows_per_chunk) as workspace,
        workspace_at(workspace.url, token) as client,
    ):
        store = SqliteStore(folder / "agent.sqlite")
        results = StoredResults(store.artifacts())
        sql = SqlTools(SqlSettings.model_validate({"SQL_WAREHOUSE_ID": WAREHOUSE_ID}), client, results)
        tools = [*await sql.tools(UNKNOWN_CALLER)]
        tools += await ResultTools(results, client, {"sql": sql}).tools(UNKNOWN_CALLER)
        try:
            yield Data(workspace, results, ToolRegistry(tools))
        finally:
            await store.close()


def table_of(result: ToolResult) -> Table:
    return next(block for block in result.blocks if isinstance(block, Table))


def keys(table: Table) -> list[int]:
    return [int(str(row[0])) for row in table.rows]


async def test_pages_show_every_row_of_the_result_once_and_run_nothing(tmp_path: Path) -> None:
    async with data(tmp_path, rows_per_chunk=40) as tools:
        table = table_of(await tools.sql(ORDERS))
        assert (len(table.rows), table.total_rows) == (PAGE_ROWS, 130)
        # A card has room for fewer rows than the page has.
        seen, shown = keys(table)[:13], 13
        while table.page is not None and not (table.page.is_last and shown >= len(table.rows)):
            table = table_of(await tools.next_rows(table, shown=shown))
            shown = len(table.rows)
            assert table.total_rows == 130
            seen += keys(table)
        assert tools.executed == 1
        assert len(seen) == len(set(seen)) == 130
        assert seen == sorted(seen)


@pytest.mark.parametrize("reason", ["forgotten", "read as somebody else"])
async def test_rows_that_are_not_there_for_whoever_presses_are_read_by_running_the_query_again(
    reason: str, tmp_path: Path
) -> None:
    async with data(tmp_path) as tools:
        table = table_of(await tools.sql(ORDERS))
        context = tools.context()
        if reason == "read as somebody else":
            context = replace(context, identity=ANN)
        else:
            stored = await tools.results.last(context.conversation, "app")
            assert stored is not None
            rows = replace(stored.result, rows=stored.result.rows[:PAGE_ROWS])
            gone = stored.model_copy(update={"result": rows, "unread": NextChunk("gone", 1)})
            await tools.results.save(context.conversation, gone)
        following = await tools.next_rows(table, context=context)
        assert "has run again, as of 20" in following.sentence
        page = table_of(following).page
        assert page is not None
        assert page.first_row == PAGE_ROWS
        assert len(table_of(following).rows) == PAGE_ROWS
        assert keys(table_of(following))[0] > keys(table)[-1]
        assert tools.executed == 2


async def test_run_again_shows_the_result_of_now_as_of_now(tmp_path: Path) -> None:
    async with data(tmp_path) as tools:
        first = await tools.sql("select count(*) as orders from samples.tpch.orders")
        button, _ = [each for block in first.blocks if isinstance(block, Actions) for each in block.actions]
        again = await tools.run("run_again", {RESULT: button.data[RESULT]})
        assert table_of(again).rows == table_of(first).rows
        assert "as of 20" in again.sentence
        assert tools.executed == 2
        assert (await tools.run("run_again", {RESULT: "unknown"})).sentence.startswith("This result is no longer kept")


async def test_a_result_of_many_chunks_is_read_whole_and_one_that_was_cut_says_so(tmp_path: Path) -> None:
    async with data(tmp_path, rows_per_chunk=700) as tools:
        result = await tools.sql("select o_orderkey, o_custkey from samples.tpch.orders")
        assert "of 3000 rows" in result.text
        cut = await tools.sql("select l_orderkey from samples.tpch.lineitem")
        assert "of more than 5000 rows" in cut.text
        notes = [block.text for block in cut.blocks if isinstance(block, Text)]
        assert notes == ["The query found more rows than the 5000 that were read."]


async def test_a_press_that_was_changed_reads_no_result_of_another_chat(tmp_path: Path) -> None:
    async with data(tmp_path) as tools:
        table = table_of(await tools.sql(ORDERS))
        assert table.page is not None
        id = table.page.next_rows.data[RESULT]
        here, elsewhere = tools.context().conversation, ConversationKey("t", "elsewhere")
        for conversation, wanted in ((elsewhere, id), (here, "of/app"), (elsewhere, f"../{id}")):
            context = replace(tools.context(), conversation=conversation)
            for tool, more in (("next_rows", {FIRST_ROW: "0"}), ("run_again", {})):
                result = await tools.run(tool, {RESULT: wanted, **more}, context=context)
                assert result.sentence.startswith("This result is no longer kept")
                assert result.blocks == ()
        assert tools.executed == 1


async def test_the_last_results_are_kept_and_each_can_be_drawn_by_its_id(tmp_path: Path) -> None:
    async with data(tmp_path) as tools:
        columns = (ResultColumn("name", "STRING"), ResultColumn("value", "INT"))
        for number in range(MAX_KEPT + 2):
            context = tools.context()
            result = ResultSet(columns, (("a", number), ("b", number)))
            await tools.results.save(context.conversation, stored_now(context, "Values", result))
        context = tools.context()
        last = await tools.results.last(context.conversation, "app")
        assert last is not None
        assert last.result.rows[0] == ("a", MAX_KEPT + 1)
        oldest = stored_now(replace(context, idempotency_key="turn-1"), "", last.result).id
        kept = stored_now(replace(context, idempotency_key="turn-3"), "", last.result).id
        assert await tools.results.find(context.conversation, "app", oldest) is None
        drawn = await tools.run("redraw_result", {"result": kept, "chart": "pie"})
        assert drawn.text == "The stored result is drawn as a pie chart."
        (chart,) = [block for block in drawn.blocks if isinstance(block, Chart)]
        assert [point.value for point in chart.series[0].points] == [2.0, 2.0]
        assert not (await tools.run("redraw_result", {"result": oldest})).succeeded
        await tools.results.remove(context.conversation, [last.id, oldest, "unknown"])
        assert await tools.results.find_query(context.conversation, last.id) is None
        before = await tools.results.last(context.conversation, "app")
        assert before is not None
        assert before.result.rows[0] == ("a", MAX_KEPT)


async def test_a_result_whose_rows_had_to_go_is_read_by_running_its_query_again(tmp_path: Path) -> None:
    async with data(tmp_path) as tools:
        table = table_of(await tools.sql(ORDERS))
        for _ in range(MAX_KEPT):
            context = tools.context()
            await tools.results.save(context.conversation, stored_now(context, "", NOTHING))
        following = await tools.next_rows(table)
        assert "has run again" in following.sentence
        assert len(table_of(following).rows) == PAGE_ROWS
        assert tools.executed == 2


async def test_of_very_old_results_nothing_is_kept(tmp_path: Path) -> None:
    async with data(tmp_path) as tools:
        for _ in range(MAX_QUERIES + 1):
            context = tools.context()
            await tools.results.save(context.conversation, stored_now(context, "", NOTHING))
        ids = [stored_now(replace(context, idempotency_key=f"turn-{n}"), "", NOTHING).id for n in (1, 2)]
        assert [await tools.results.find_query(context.conversation, id) is None for id in ids] == [True, False]


async def test_a_result_is_drawn_by_another_column_from_what_is_stored(tmp_path: Path) -> None:
    async with data(tmp_path) as tools:
        await tools.sql(
            "select o_orderstatus as status, o_orderpriority as priority, sum(o_totalprice) as revenue, "
            "avg(o_totalprice) as average from samples.tpch.orders group by all order by all"
        )
        first = await tools.results.last(tools.context().conversation, "app")
        assert first is not None
        first_id = first.id
        drawn = await tools.run("redraw_result", {"group_by": "Priority", "value": "revenue"})
        table = table_of(drawn)
        assert [column.name for column in table.columns] == ["priority", "revenue"]
        by_warehouse = table_of(
            await tools.sql(
                "select o_orderpriority as priority, sum(o_totalprice) as revenue from samples.tpch.orders group by all"
            )
        )
        assert sorted(map(str, table.rows)) == sorted(map(str, by_warehouse.rows))
        assert any(isinstance(block, Chart) for block in drawn.blocks)
        await tools.run("redraw_result", {"group_by": "Priority", "value": "revenue", "result": first_id})
        as_pie = await tools.run("redraw_result", {"chart": "pie"})
        (chart,) = [block for block in as_pie.blocks if isinstance(block, Chart)]
        assert [point.label for point in chart.series[0].points] == [row[0] for row in table.rows], "the last one drawn"
        unknown = await tools.run("redraw_result", {"group_by": "region"})
        assert "its columns are: priority, revenue" in unknown.text


async def test_two_results_of_one_step_are_both_kept(tmp_path: Path) -> None:
    async with data(tmp_path) as tools:
        await asyncio.gather(*(tools.sql(f"select {number} as value") for number in range(4)))
        conversation = tools.context().conversation
        ids = [stored_now(replace(tool_context(), idempotency_key=f"turn-{n}"), "", NOTHING).id for n in range(1, 5)]
        found = [await tools.results.find(conversation, "app", id) for id in ids]
        assert all(isinstance(each, StoredResult) for each in found)


NOTHING = ResultSet((ResultColumn("a", "INT"),), ())
