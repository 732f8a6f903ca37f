"""A stand-in SQL warehouse: the SQL Statement Execution API over DuckDB, Databricks SQL translated with sqlglot."""

from __future__ import annotations

import asyncio
import importlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from app.local.sample_data import SampleDatabase, SampleDataNotInstalledError
from app.local.stand_in_replies import RefusedRequestError, json_of
from app.local.statement_results import StatementResult, column, row_of_text

WAREHOUSE_ID = "5a11e0000000b057"
_MAX_ROWS = 100_000
_MAX_STATEMENTS = 200
"""The oldest are forgotten, as Databricks forgets them after twelve hours."""

_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "CLOSED"})


@dataclass(slots=True)
class Statement:
    """`pending_polls`: how often it is still said to wait for its warehouse."""

    statement_id: str
    sql: str
    parameters: Mapping[str, str | None]
    row_limit: int
    pending_polls: int = 0
    state: str = "PENDING"
    error: dict[str, str] | None = None
    sql_state: str | None = None
    result: StatementResult | None = None
    task: asyncio.Task[None] | None = None
    cursor: Any = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, state: str) -> None:
        if self.state not in _ENDED:
            self.state = state
            self.ended.set()

    def fail(self, code: str, message: str, sql_state: str = "") -> None:
        self.error = {"error_code": code, "message": message}
        self.sql_state = sql_state or None
        self.end("FAILED")


class WarehouseStandIn:
    """The warehouse of the stand-in workspace. What tests set and look at:

    `executed`: the texts of all statements; `cancelled`: the ids of those that were cancelled;
    `pending_polls`: for how many polls the warehouse is said to be starting, for each next statement;
    `hold` and `release`: statements run, and do not end; `close_result`: the result can no longer be fetched.
    """

    def __init__(self, database: SampleDatabase, *, rows_per_chunk: int = 1000) -> None:
        self.executed: list[str] = []
        self.cancelled: list[str] = []
        self.pending_polls = 0
        self.rows_per_chunk = rows_per_chunk
        self._database = database
        self._statements: OrderedDict[str, Statement] = OrderedDict()
        self._released = asyncio.Event()
        self._released.set()

    def routes(self) -> Sequence[web.RouteDef]:
        return (
            web.get("/api/2.0/sql/warehouses/{warehouse}", self._describe),
            web.post("/api/2.0/sql/statements", self._execute),
            web.post("/api/2.0/sql/statements/", self._execute),
            web.get("/api/2.0/sql/statements/{statement}", self._get),
            web.get("/api/2.0/sql/statements/{statement}/result/chunks/{index:\\d+}", self._chunk),
            web.post("/api/2.0/sql/statements/{statement}/cancel", self._cancel),
        )

    def hold(self) -> None:
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    def close_result(self, statement_id: str) -> None:
        self.find(statement_id).state = "CLOSED"

    def find(self, statement_id: str) -> Statement:
        """Raises `RefusedRequestError` where there is none of that id."""
        statement = self._statements.get(statement_id)
        if statement is None:
            raise RefusedRequestError(404, "NOT_FOUND", f"The statement {statement_id} was not found.")
        return statement

    def start(
        self, sql: str, parameters: Mapping[str, str | None] | None = None, row_limit: int = _MAX_ROWS
    ) -> Statement:
        """Runs `sql` in the background, once the warehouse has started."""
        statement = Statement(_statement_id(), sql, parameters or {}, row_limit, self.pending_polls)
        self.executed.append(sql)
        self._statements[statement.statement_id] = statement
        while len(self._statements) > _MAX_STATEMENTS:
            self._statements.popitem(last=False)[1].end("CANCELED")
        if not statement.pending_polls:
            self._run(statement)
        return statement

    def poll(self, statement: Statement) -> None:
        """A look at a statement whose warehouse is starting brings the start one step on."""
        if statement.pending_polls:
            statement.pending_polls -= 1
            if not statement.pending_polls and statement.state not in _ENDED:
                self._run(statement)

    def cancel(self, statement: Statement) -> None:
        if statement.state in _ENDED:
            return
        self.cancelled.append(statement.statement_id)
        statement.end("CANCELED")
        if statement.cursor is not None:
            statement.cursor.interrupt()

    def response(self, statement: Statement) -> dict[str, Any]:
        """The API's `StatementResponse`."""
        status: dict[str, Any] = {"state": statement.state}
        if statement.error:
            status["error"] = statement.error
        if statement.sql_state:
            status["sql_state"] = statement.sql_state
        told: dict[str, Any] = {"statement_id": statement.statement_id, "status": status}
        if statement.result is not None and statement.state in {"SUCCEEDED", "CLOSED"}:
            told["manifest"] = statement.result.manifest()
            if statement.state == "SUCCEEDED":
                told["result"] = statement.result.chunk(0, statement.statement_id)
        return told

    def _run(self, statement: Statement) -> None:
        statement.state = "RUNNING"
        statement.task = asyncio.create_task(self._run_to_its_end(statement))

    async def _run_to_its_end(self, statement: Statement) -> None:
        released = asyncio.create_task(self._released.wait())
        ended = asyncio.create_task(statement.ended.wait())
        await asyncio.wait([released, ended], return_when=asyncio.FIRST_COMPLETED)
        released.cancel()
        ended.cancel()
        if statement.state in _ENDED:
            return
        try:
            statement.result = await asyncio.to_thread(self._query, statement)
        except SampleDataNotInstalledError as error:
            statement.fail("IO_ERROR", str(error))
        except Exception as error:
            statement.fail("BAD_REQUEST", _first_line(str(error)), _sql_state(error))
        else:
            statement.end("SUCCEEDED")

    def _query(self, statement: Statement) -> StatementResult:
        translated = _translated(statement.sql)
        statement.cursor = cursor = self._database.cursor()
        try:
            given = statement.parameters
            cursor.execute(translated, dict(given) if given else None)
            columns = tuple(
                column(described[0], position, str(described[1]))
                for position, described in enumerate(cursor.description)
            )
            rows = cursor.fetchmany(statement.row_limit + 1)
        finally:
            statement.cursor = None
            cursor.close()
        kept = rows[: statement.row_limit]
        return StatementResult(
            columns, tuple(map(row_of_text, kept)), truncated=len(rows) > len(kept), rows_per_chunk=self.rows_per_chunk
        )

    async def _describe(self, request: web.Request) -> web.Response:
        if request.match_info["warehouse"] != WAREHOUSE_ID:
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", "The warehouse does not exist.")
        return web.json_response({"id": WAREHOUSE_ID, "name": "Stand-in warehouse", "state": "RUNNING"})

    async def _execute(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        sql = body.get("statement")
        if not isinstance(sql, str) or not sql.strip():
            raise RefusedRequestError(400, "INVALID_PARAMETER_VALUE", "The statement is missing.")
        if body.get("warehouse_id") != WAREHOUSE_ID:
            raise RefusedRequestError(404, "NOT_FOUND", f"{body.get('warehouse_id')} is not a valid endpoint id.")
        limit = body.get("row_limit")
        statement = self.start(
            sql, _parameters(body.get("parameters")), limit if isinstance(limit, int) and limit > 0 else _MAX_ROWS
        )
        wait_seconds = _wait_seconds(body.get("wait_timeout", "10s"))
        if wait_seconds and not statement.pending_polls:
            with suppress(TimeoutError):
                await asyncio.wait_for(statement.ended.wait(), wait_seconds)
            if not statement.ended.is_set() and body.get("on_wait_timeout") == "CANCEL":
                self.cancel(statement)
        return web.json_response(self.response(statement))

    async def _get(self, request: web.Request) -> web.Response:
        statement = self.find(request.match_info["statement"])
        self.poll(statement)
        return web.json_response(self.response(statement))

    async def _chunk(self, request: web.Request) -> web.Response:
        statement = self.find(request.match_info["statement"])
        index = int(request.match_info["index"])
        result = statement.result
        if statement.state != "SUCCEEDED" or result is None or index >= result.chunk_count:
            raise RefusedRequestError(404, "NOT_FOUND", f"The statement has no chunk {index} that can be fetched.")
        return web.json_response(result.chunk(index, statement.statement_id))

    async def _cancel(self, request: web.Request) -> web.Response:
        self.cancel(self.find(request.match_info["statement"]))
        return web.json_response({})


def _translated(sql: str) -> str:
    sqlglot = importlib.import_module("sqlglot")
    statements: list[str] = sqlglot.transpile(sql, read="databricks", write="duckdb")
    if len(statements) != 1:
        raise ValueError("[PARSE_SYNTAX_ERROR] One statement is expected.")
    return statements[0]


def _parameters(sent: object) -> dict[str, str | None]:
    if sent is None:
        return {}
    if not isinstance(sent, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in sent
    ):
        raise RefusedRequestError(400, "INVALID_PARAMETER_VALUE", "Parameters are a list of objects with a name.")
    return {one["name"]: one.get("value") for one in sent}


def _wait_seconds(sent: object) -> int:
    match = re.fullmatch(r"(\d{1,2})s", sent) if isinstance(sent, str) else None
    seconds = int(match[1]) if match else -1
    if seconds != 0 and not 5 <= seconds <= 50:
        raise RefusedRequestError(400, "INVALID_PARAMETER_VALUE", "wait_timeout is 0s, or from 5s to 50s.")
    return seconds


def _sql_state(error: Exception) -> str:
    return {"CatalogException": "42P01", "BinderException": "42703", "ParserException": "42601"}.get(
        type(error).__name__, "42000"
    )


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:1000] if text.strip() else "The statement failed."


def _statement_id() -> str:
    digits = secrets.token_hex(16)
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
