"""A query that the model writes, on the stand-in warehouse."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from app.common.caller import UNKNOWN_CALLER
from app.common.identity import APP_IDENTITY
from app.content.blocks import Code, Folded, Table
from app.data.stored_results import StoredResults
from app.databricks.credentials import PersonalAccessToken
from app.databricks.sql_statements import SqlStatements, StatementFailedError
from app.local.warehouse_stand_in import WAREHOUSE_ID
from app.models.model import ToolCall
from app.settings.sql_settings import SqlSettings
from app.sql.provider import SqlTools
from app.storage.artifacts import ArtifactStore
from app.storage.sqlite.sqlite_store import SqliteStore
from app.tools.base import ToolResult
from app.tools.registry import ToolRegistry
from tests.fakes.sample_data import DATA_TOKEN, DataWorkspace, data_workspace
from tests.fakes.tools import tool_context
from tests.fakes.workspaces import workspace_at

PAT = PersonalAccessToken(SecretStr(DATA_TOKEN))
BY_STATUS = "select o_orderstatus, count(*) as orders from samples.tpch.orders group by all order by all"


@dataclass
class RunSql:
    data: DataWorkspace
    artifacts: ArtifactStore
    registry: ToolRegistry

    async def __call__(self, sql: str, progress: Callable[[str], None] = lambda _: None) -> ToolResult:
        call = ToolCall("1", "run_sql", json.dumps({"sql": sql, "title": "Orders"}))
        return await self.registry.run(call, tool_context(progress))


@asynccontextmanager
async def opened(folder: Path, warehouse: str = WAREHOUSE_ID) -> AsyncIterator[RunSql]:
    async with data_workspace() as data, workspace_at(data.url, PAT) as workspace:
        store = SqliteStore(folder / "agent.sqlite")
        settings = SqlSettings.model_validate({"SQL_WAREHOUSE_ID": warehouse})
        provider = SqlTools(settings, workspace, StoredResults(store.artifacts()))
        try:
            yield RunSql(data, store.artifacts(), ToolRegistry(list(await provider.tools(UNKNOWN_CALLER))))
        finally:
            await store.close()


async def test_a_query_shows_a_table_and_its_sql_and_is_kept_to_be_drawn_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as run_sql:
        result = await run_sql(BY_STATUS)
        assert result.succeeded
        assert result.text.startswith('["o_orderstatus", "orders"]\n["F", ')
        table = next(block for block in result.blocks if isinstance(block, Table))
        assert [column.name for column in table.columns] == ["o_orderstatus", "orders"]
        assert sum(int(str(row[1])) for row in table.rows) == 3000
        shown = next(block for block in result.blocks if isinstance(block, Folded))
        assert Code(BY_STATUS, "sql") in shown.blocks
        assert run_sql.data.warehouse.executed == [BY_STATUS]
        kept = await StoredResults(run_sql.artifacts).last(tool_context().conversation, "app")
        assert kept is not None
        assert kept.query is not None
        assert result.text.endswith(f"(3 of 3 rows; the person sees the result as a table; its id is {kept.id})")
        assert (kept.title, kept.query.sql, kept.result.rows) == ("Orders", BY_STATUS, table.rows)


async def test_a_write_is_refused_in_words_and_never_sent(tmp_path: Path) -> None:
    async with opened(tmp_path) as run_sql:
        result = await run_sql("delete from samples.tpch.orders")
        assert not result.succeeded
        assert "only a query is run" in result.text
        assert run_sql.data.warehouse.executed == []


async def test_the_warehouses_own_words_about_a_failed_query_reach_the_model(tmp_path: Path) -> None:
    async with opened(tmp_path) as run_sql:
        result = await run_sql("select no_such_column from samples.tpch.orders")
        assert not result.succeeded
        assert "The query failed: " in result.text
        assert "no_such_column" in result.text


async def test_a_warehouse_that_is_gone_is_said(tmp_path: Path) -> None:
    async with opened(tmp_path, warehouse="gone") as run_sql:
        assert "not there any more" in (await run_sql("select 1")).text


async def test_the_start_of_the_warehouse_is_shown_once(tmp_path: Path) -> None:
    shown: list[str] = []
    async with opened(tmp_path) as run_sql:
        run_sql.data.warehouse.pending_polls = 2
        assert (await run_sql("select 1", shown.append)).succeeded
    assert shown.count("The warehouse is starting…") == 1


async def test_stop_cancels_the_statement(tmp_path: Path) -> None:
    async with opened(tmp_path) as run_sql:
        warehouse, running = run_sql.data.warehouse, asyncio.Event()
        warehouse.hold()
        task = asyncio.create_task(run_sql(BY_STATUS, lambda _: running.set()))
        async with asyncio.timeout(10):
            await running.wait()
            task.cancel()
            await asyncio.wait({task})
        assert len(warehouse.cancelled) == 1
        assert warehouse.find(warehouse.cancelled[0]).state == "CANCELED"


async def test_stop_before_the_statement_has_an_id_cancels_it_too() -> None:
    posted, answer, cancelled = asyncio.Event(), asyncio.Event(), []

    async def execute(_: web.Request) -> web.Response:
        posted.set()
        await answer.wait()
        return web.json_response({"statement_id": "s1", "status": {"state": "PENDING"}})

    async def cancel(request: web.Request) -> web.Response:
        cancelled.append(request.match_info["id"])
        return web.json_response({})

    app = web.Application()
    app.add_routes(
        [web.post("/api/2.0/sql/statements", execute), web.post("/api/2.0/sql/statements/{id}/cancel", cancel)]
    )
    async with TestServer(app) as server, workspace_at(f"http://127.0.0.1:{server.port}") as workspace:
        task = asyncio.create_task(SqlStatements(workspace, "w").run("select 1", APP_IDENTITY))
        await posted.wait()
        task.cancel()
        await asyncio.sleep(0)
        answer.set()
        await asyncio.wait({task})
    assert cancelled == ["s1"]


MANIFEST = {"schema": {"columns": [{"name": "a", "type_name": "INT"}]}, "total_row_count": 1}
ROWS = {"data_array": [["1"]]}


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        ({"status": {"state": "CLOSED"}, "manifest": MANIFEST, "result": ROWS}, ""),
        ({"status": {"state": "SUCCEEDED"}, "manifest": MANIFEST}, ""),
        ({"status": {"state": "CLOSED"}, "manifest": MANIFEST}, "CLOSED"),
        ({"status": {"state": "CLOSED"}}, "CLOSED"),
        ({"status": {"state": "CANCELED"}}, "CANCELED"),
        (
            {"status": {"state": "FAILED", "error": {"error_code": "BAD_REQUEST", "message": "No such table"}}},
            "No such",
        ),
        ({"status": {"state": "FAILED", "error": "?"}}, "FAILED"),
        ({"status": None}, "ended"),
    ],
)
async def test_each_end_of_a_statement_is_told_apart(reply: dict[str, object], failure: str) -> None:
    async def execute(_: web.Request) -> web.Response:
        return web.json_response({"statement_id": "s1", **reply})

    app = web.Application()
    app.add_routes([web.post("/api/2.0/sql/statements", execute)])
    async with TestServer(app) as server, workspace_at(f"http://127.0.0.1:{server.port}") as workspace:
        statements = SqlStatements(workspace, "w")
        if not failure:
            assert (await statements.run("select 1", APP_IDENTITY))["manifest"] == MANIFEST
        else:
            with pytest.raises(StatementFailedError, match=failure):
                await statements.run("select 1", APP_IDENTITY)
