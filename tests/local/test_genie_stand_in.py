"""The stand-in's Genie space and warehouse speak the real protocol over real data."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st

from app.local.genie_plans import PLANS, MessagePlan, planned
from app.local.genie_questions import (
    DIMENSIONS,
    MEASURES,
    Clarification,
    KnownQuestion,
    known_question,
    looks_like_data,
)
from app.local.genie_stand_in import SPACE_ID
from app.local.scripted_answers import scripted_answer
from app.local.stand_in_replies import RefusedRequestError
from app.local.statement_results import text_of
from app.local.warehouse_stand_in import WAREHOUSE_ID
from tests.fakes.sample_data import DATA_TOKEN, DataWorkspace, data_workspace, small_sample_data

SPACE = f"/api/2.0/genie/spaces/{SPACE_ID}"
STATEMENTS = "/api/2.0/sql/statements"
BY_MONTH = "How did revenue develop by month?"


class Caller:
    """Calls the workspace; the answer of `ask` is the message at its end, and the states on the way."""

    def __init__(self, session: ClientSession, workspace: DataWorkspace) -> None:
        self._session = session
        self.workspace = workspace

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None, status: int = 200) -> Any:
        async with self._session.request(method, path, json=body) as answer:
            told = await answer.json()
            assert answer.status == status, told
            return told

    async def ask(self, question: str, conversation: str | None = None) -> tuple[dict[str, Any], list[str]]:
        if conversation is None:
            started = await self.call("POST", f"{SPACE}/start-conversation", {"content": question})
            message = started["message"]
        else:
            message = await self.call("POST", f"{SPACE}/conversations/{conversation}/messages", {"content": question})
        return await self.follow(message)

    async def follow(self, message: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        states = [message["status"]]
        while message["status"] not in {"COMPLETED", "FAILED", "CANCELLED", "QUERY_RESULT_EXPIRED"}:
            assert len(states) < 200, states
            message = await self.call("GET", path_of(message))
            if message["status"] != states[-1]:
                states.append(message["status"])
        return message, states

    async def rows(self, message: dict[str, Any]) -> list[list[str]]:
        result = await self.call("GET", f"{path_of(message)}/attachments/{query_of(message)}/query-result")
        rows: list[list[str]] = result["statement_response"]["result"]["data_array"]
        return rows


def path_of(message: dict[str, Any]) -> str:
    return f"{SPACE}/conversations/{message['conversation_id']}/messages/{message['message_id']}"


def query_of(message: dict[str, Any]) -> str:
    return str(next(one["attachment_id"] for one in message["attachments"] if "query" in one))


def texts_of(message: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["text"]["content"], one["text"]["purpose"]) for one in message["attachments"] if "text" in one]


@asynccontextmanager
async def caller(file: Path | None = None, rows_per_chunk: int = 1000) -> AsyncIterator[Caller]:
    async with (
        data_workspace(file, rows_per_chunk=rows_per_chunk) as workspace,
        ClientSession(workspace.url, headers={"Authorization": f"Bearer {DATA_TOKEN}"}) as session,
    ):
        yield Caller(session, workspace)


async def test_a_question_goes_through_its_states_to_sql_that_ran_a_summary_and_follow_ups() -> None:
    async with caller() as workspace:
        message, states = await workspace.ask(BY_MONTH)
        rows = await workspace.rows(message)
    assert states[0] == "SUBMITTED"
    assert states[-2:] == ["EXECUTING_QUERY", "COMPLETED"]
    (query,) = [one["query"] for one in message["attachments"] if "query" in one]
    assert "samples.tpch.lineitem" in query["query"]
    assert query["query_result_metadata"] == {"row_count": len(rows), "is_truncated": False}
    assert rows[0][0] == "1992-01-01"
    assert len(rows) == 80
    (follow_ups,) = [one["suggested_questions"] for one in message["attachments"] if "suggested_questions" in one]
    assert all(isinstance(known_question(one), KnownQuestion) for one in follow_ups["questions"])


async def test_the_same_month_of_changed_data_gives_the_changed_number(tmp_path: Path) -> None:
    question = "What was the revenue in March 1997?"
    async with caller() as workspace:
        ((before,),) = await workspace.rows((await workspace.ask(question))[0])
    changed = tmp_path / "changed.duckdb"
    await asyncio.to_thread(shutil.copy, small_sample_data(), changed)
    with duckdb.connect(str(changed)) as connection:
        connection.execute("UPDATE tpch.lineitem SET l_extendedprice = 2 * l_extendedprice")
    async with caller(changed) as workspace:
        message, _ = await workspace.ask(question)
        ((after,),) = await workspace.rows(message)
        assert f"{float(after):,.2f}" in texts_of(message)[-1][0]
    assert float(after) == pytest.approx(2 * float(before))


async def test_a_question_outside_the_known_ones_is_not_about_this_data() -> None:
    async with caller() as workspace:
        message, states = await workspace.ask("How many employees were hired last year?")
    assert states[-2:] == ["ASKING_AI", "COMPLETED"]
    ((text, _),) = texts_of(message)
    assert "not about the data" in text
    assert workspace.workspace.warehouse.executed == []


async def test_a_follow_up_asks_the_same_of_something_else_and_a_clarification_is_completed_by_its_answer() -> None:
    async with caller() as workspace:
        first, _ = await workspace.ask(BY_MONTH)
        second, _ = await workspace.ask("By region instead of month", first["conversation_id"])
        assert [name for name, _ in await workspace.rows(second)]
        unclear, _ = await workspace.ask("Who are our best customers?")
        assert texts_of(unclear) == [
            ("Best customer by revenue, or by number of orders?", "FOLLOW_UP_QUESTION"),
        ]
        clear, _ = await workspace.ask("by revenue", unclear["conversation_id"])
        assert len(await workspace.rows(clear)) == 10


@pytest.mark.parametrize("name", PLANS)
async def test_each_simulated_way_ends_as_it_says(name: str) -> None:
    question = f"{BY_MONTH} simulate: {name}"
    async with caller() as workspace:
        if name == "throttled":
            await workspace.call("POST", f"{SPACE}/start-conversation", {"content": question}, status=429)
        if name == "never ends":
            started = await workspace.call("POST", f"{SPACE}/start-conversation", {"content": question})
            for _ in range(10):
                message = await workspace.call("GET", path_of(started["message"]))
            assert message["status"] == "ASKING_AI"
            workspace.workspace.genie.release("ASKING_AI")
            message, states = await workspace.follow(message)
        else:
            message, states = await workspace.ask(question)
    ends = {"cancelled": "CANCELLED", "expired": "QUERY_RESULT_EXPIRED", "sql error": "FAILED"}
    assert states[-1] == ends.get(name, "COMPLETED")
    if name != "never ends":
        assert set(PLANS[name].states) <= {*states, "EXECUTING_QUERY"}


async def test_any_type_of_error_can_be_asked_for() -> None:
    async with caller() as workspace:
        message, _ = await workspace.ask(f"{BY_MONTH} simulate: CONTENT_FILTER_EXCEPTION")
    assert (message["status"], message["error"]["type"]) == ("FAILED", "CONTENT_FILTER_EXCEPTION")


async def test_a_test_can_plan_the_next_message_refuse_a_question_and_see_an_overlap() -> None:
    async with caller() as workspace:
        genie = workspace.workspace.genie
        genie.plans.append(MessagePlan(held_in="EXECUTING_QUERY"))
        genie.refusals.append(RefusedRequestError(403, "PERMISSION_DENIED", "No."))
        await workspace.call("POST", f"{SPACE}/start-conversation", {"content": "x"}, status=403)
        started = await workspace.call("POST", f"{SPACE}/start-conversation", {"content": BY_MONTH})
        conversation = started["conversation_id"]
        second, _ = await workspace.ask("by region", conversation)
        assert second["error"]["type"] == "BLOCK_MULTIPLE_EXECUTIONS_EXCEPTION"
        assert genie.overlaps == 1
        genie.release("EXECUTING_QUERY")
        _, states = await workspace.follow(started["message"])
        assert states[-1] == "COMPLETED"


async def test_an_expired_result_can_be_executed_again() -> None:
    async with caller() as workspace:
        message, _ = await workspace.ask(f"{BY_MONTH} simulate: expired")
        attachment = f"{path_of(message)}/attachments/{query_of(message)}"
        await workspace.call("GET", f"{attachment}/query-result", status=404)
        await workspace.call("POST", f"{attachment}/execute-query")
        again, states = await workspace.follow(await workspace.call("GET", path_of(message)))
        assert states[-1] == "COMPLETED"
        assert len(await workspace.rows(again)) == 80


async def test_a_second_try_runs_another_statement() -> None:
    async with caller() as workspace:
        message, states = await workspace.ask(f"{BY_MONTH} simulate: second try")
        assert states[-4:] == ["EXECUTING_QUERY", "ASKING_AI", "EXECUTING_QUERY", "COMPLETED"]
        assert len(workspace.workspace.warehouse.executed) == 2
        assert len(await workspace.rows(message)) == 80


async def test_cancelling_the_statement_cancels_the_message() -> None:
    async with caller() as workspace:
        workspace.workspace.warehouse.hold()
        started = await workspace.call("POST", f"{SPACE}/start-conversation", {"content": BY_MONTH})
        message = started["message"]
        while message["status"] != "EXECUTING_QUERY":
            message = await workspace.call("GET", path_of(message))
        (query,) = [one["query"] for one in message["attachments"]]
        await workspace.call("POST", f"{STATEMENTS}/{query['statement_id']}/cancel")
        message, states = await workspace.follow(message)
    assert states[-1] == "CANCELLED"
    assert workspace.workspace.warehouse.cancelled == [query["statement_id"]]


async def test_feedback_is_kept_and_a_deleted_conversation_is_gone() -> None:
    async with caller() as workspace:
        message, _ = await workspace.ask(BY_MONTH)
        await workspace.call("POST", f"{path_of(message)}/feedback", {"rating": "POSITIVE", "comment": "good"})
        assert (await workspace.call("GET", path_of(message)))["feedback"] == {"rating": "POSITIVE", "comment": "good"}
        conversation = f"{SPACE}/conversations/{message['conversation_id']}"
        await workspace.call("DELETE", conversation)
        await workspace.call("GET", path_of(message), status=404)
        assert workspace.workspace.genie.deleted == [message["conversation_id"]]


async def test_spaces_are_listed_and_described() -> None:
    async with caller() as workspace:
        (space,) = (await workspace.call("GET", "/api/2.0/genie/spaces"))["spaces"]
        assert (space["space_id"], space["title"]) == (SPACE_ID, "Sales")
        assert (await workspace.call("GET", SPACE))["warehouse_id"] == WAREHOUSE_ID
        await workspace.call("GET", "/api/2.0/genie/spaces/unknown", status=404)


async def execute(workspace: Caller, sql: str, **more: object) -> Any:
    return await workspace.call("POST", STATEMENTS, {"statement": sql, "warehouse_id": WAREHOUSE_ID, **more})


async def test_a_statement_returns_typed_columns_text_and_chunks() -> None:
    sql = """SELECT CAST(id AS BIGINT) AS id, CAST(333600000 AS DOUBLE) AS large, CAST(1.50 AS DECIMAL(9, 2)) AS price,
             DATE '2024-02-29' AS day, id > 1 AS flag, CAST(NULL AS STRING) AS nothing FROM range(5) AS t(id)"""
    async with caller(rows_per_chunk=2) as workspace:
        told = await execute(workspace, sql, wait_timeout="10s")
        columns = [(one["name"], one["type_name"]) for one in told["manifest"]["schema"]["columns"]]
        assert columns == [
            ("id", "LONG"),
            ("large", "DOUBLE"),
            ("price", "DECIMAL"),
            ("day", "DATE"),
            ("flag", "BOOLEAN"),
            ("nothing", "STRING"),
        ]
        assert told["result"]["data_array"][0] == ["0", "3.336E8", "1.50", "2024-02-29", "false", None]
        ids, chunk = [], told["result"]
        while True:
            ids += [row[0] for row in chunk["data_array"]]
            if "next_chunk_index" not in chunk:
                break
            link = f"{STATEMENTS}/{told['statement_id']}/result/chunks/{chunk['next_chunk_index']}"
            chunk = await workspace.call("GET", link)
        assert ids == ["0", "1", "2", "3", "4"]
        assert told["manifest"]["total_row_count"] == 5
        workspace.workspace.warehouse.close_result(told["statement_id"])
        assert (await workspace.call("GET", f"{STATEMENTS}/{told['statement_id']}"))["status"]["state"] == "CLOSED"
        await workspace.call("GET", f"{STATEMENTS}/{told['statement_id']}/result/chunks/0", status=404)


async def test_a_starting_warehouse_a_parameter_a_limit_and_a_cancelled_statement() -> None:
    async with caller() as workspace:
        warehouse = workspace.workspace.warehouse
        warehouse.pending_polls = 2
        told = await execute(workspace, "SELECT 1", wait_timeout="0s")
        states = [told["status"]["state"]]
        while states[-1] != "SUCCEEDED":
            told = await workspace.call("GET", f"{STATEMENTS}/{told['statement_id']}")
            states.append(told["status"]["state"])
        assert states[:2] == ["PENDING", "PENDING"]
        warehouse.pending_polls = 0
        limited = await execute(
            workspace,
            "SELECT r_name FROM samples.tpch.region WHERE r_name <> :name ORDER BY 1",
            parameters=[{"name": "name", "value": "AFRICA"}],
            row_limit=2,
        )
        assert limited["result"]["data_array"] == [["AMERICA"], ["ASIA"]]
        assert limited["manifest"]["truncated"] is True
        warehouse.hold()
        held = await execute(workspace, "SELECT 1", wait_timeout="0s")
        await workspace.call("POST", f"{STATEMENTS}/{held['statement_id']}/cancel")
        assert (await workspace.call("GET", f"{STATEMENTS}/{held['statement_id']}"))["status"]["state"] == "CANCELED"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT no_such_column FROM samples.tpch.orders",
        "SELECT 1; SELECT 2",
        "DELETE FROM samples.tpch.orders",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELEC 1",
    ],
)
async def test_a_statement_that_cannot_run_fails_with_its_error_in_a_200(sql: str) -> None:
    async with caller() as workspace:
        told = await execute(workspace, sql)
    assert told["status"]["state"] == "FAILED"
    assert told["status"]["error"]["message"]


@pytest.mark.parametrize(
    ("question", "title"),
    [
        (BY_MONTH, "Revenue by month"),
        ("show me monthly sales", "Revenue by month"),
        ("Wie war der Umsatz per month?", "Revenue by month"),
        ("Revenue per region in 1997", "Revenue by region in 1997"),
        ("How many orders did we have by region?", "Orders by region"),
        ("top 5 customers", "Revenue by customer"),
        ("Who are our biggest customers by revenue?", "Revenue by customer"),
        ("How many customers are there in each country?", "Customers by country"),
        ("average order value by segment", "Average order value by segment"),
        ("What discounts do we give by brand?", "Average discount by brand"),
        ("Which products were returned most?", "Returned items by product"),
        ("Units sold by ship mode", "Items sold by ship mode"),
        ("What was the revenue in March 1997?", "Revenue in March 1997"),
        ("orders by priority", "Orders by priority"),
        ("quarterly turnover", "Revenue by quarter"),
        ("Top suppliers by revenue in 1995", "Revenue by supplier in 1995"),
    ],
)
async def test_known_questions_are_understood_in_other_words_and_their_sql_runs(question: str, title: str) -> None:
    asked = known_question(question)
    assert isinstance(asked, KnownQuestion)
    assert asked.title == title
    assert looks_like_data(question)
    async with caller() as workspace:
        told = await execute(workspace, asked.sql)
    assert told["status"]["state"] == "SUCCEEDED", told
    assert told["result"]["data_array"]


@pytest.mark.parametrize(
    "question",
    [
        "Hello!",
        "What is a lakehouse?",
        "Tell me a joke about Spark",
        "as a pie chart",
        "In what order do I learn Spark?",
        "",
    ],
)
def test_what_is_no_question_about_data_is_left_to_the_model(question: str) -> None:
    assert known_question(question) == "unknown"
    assert not looks_like_data(question)


async def test_every_measure_by_everything_is_sql_that_runs() -> None:
    """Only an average over whole orders cannot be told by what belongs to their items."""
    refused = []
    async with caller() as workspace:
        for measure, dimension in product(MEASURES, DIMENSIONS):
            name = (
                measure.name.replace("_", " ").replace("items sold", "units").replace("customers", "how many customers")
            )
            words = {"month": "monthly", "quarter": "quarterly", "year": "yearly"}
            asked = known_question(f"{name} {words.get(dimension.name, dimension.name.replace('_', ' '))} in 1996")
            if asked == "unknown":
                refused.append((measure.name, dimension.name))
                continue
            assert isinstance(asked, KnownQuestion)
            assert (asked.measure, asked.dimension, asked.year) == (measure, dimension, 1996)
            told = await execute(workspace, asked.sql)
            assert told["status"]["state"] == "SUCCEEDED", asked.sql
    items = ("ship_mode", "brand", "product", "supplier")
    assert refused == [("average_order_value", name) for name in items]


@given(st.text(max_size=200), st.text(max_size=100))
def test_any_text_is_understood_or_not(first: str, second: str) -> None:
    earlier = known_question(first)
    known_question(second, None if earlier == "unknown" else earlier)
    scripted_answer([{"role": "user", "content": first}], [])
    planned(second)


def test_an_answer_that_does_not_clarify_is_unknown() -> None:
    unclear = known_question("best suppliers")
    assert isinstance(unclear, Clarification)
    assert known_question("the green ones", unclear) == "unknown"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (333_600_000.0, "3.336E8"),
        (-12_345_678.9, "-1.23456789E7"),
        (1e7, "1.0E7"),
        (0.5, "0.5"),
        (0.0001, "1.0E-4"),
        (0.0, "0.0"),
        (float("inf"), "Infinity"),
        (float("nan"), "NaN"),
        (True, "true"),
    ],
)
def test_values_are_written_as_the_warehouse_writes_them(value: object, text: str) -> None:
    assert text_of(value) == text
