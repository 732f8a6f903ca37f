"""What is read from a response of Genie's agent mode: whole items, texts, queries and their results."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.content.blocks import Cell
from app.genie.agent_response import AgentQuery, AgentResponse
from app.genie.agent_result import result_of

SQL = "SELECT region, sum(x)\nFROM t GROUP BY 1"


def call(sql: str = SQL, title: str = "By region", id: str = "c1") -> dict[str, Any]:
    arguments = json.dumps({"sql": sql, "title": title})
    return {"type": "function_call", "id": id, "call_id": id, "name": "execute_sql", "arguments": arguments}


def output(markdown: str, id: str = "c1") -> dict[str, Any]:
    return {"type": "function_call_output", "id": f"{id}_output", "call_id": id, "output": markdown}


def message(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "message", "id": "m", "role": "assistant", "content": list(parts), **more}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": text, **more}


def item(event: str, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"response.output_item.{event}", "item": item}


def response(**told: Any) -> dict[str, Any]:
    return {"id": "r", "conversation_id": "c", **told}


def test_an_item_that_changes_is_told_whole_and_counts_once() -> None:
    read = AgentResponse()
    read.take_event({"type": "response.created", "response": response(status="in_progress", output=[])})
    for event, words in (("added", "Rev"), ("updated", "Revenue gr"), ("done", "Revenue grew.")):
        assert read.take_event(item(event, message(said(words))))
    assert not read.take_event(item("done", message(said("Revenue grew."))))
    assert not read.ended
    read.take_event({"type": "response.completed", "response": response(output=[message(said("Revenue grew."))])})
    assert (read.response_id, read.conversation_id, read.ended, read.error_code) == ("r", "c", True, "")
    assert read.answer().report == "Revenue grew."


def test_a_query_that_genie_repeats_is_one_and_stands_where_it_ran_last() -> None:
    read = AgentResponse()
    for each in (call(), call("SELECT 2", "Two", "c2"), call(SQL.replace("\n", "  "), "By region again", "c3")):
        read.take_event(item("done", each))
    read.take_event(item("done", output("Two\n\n| a |\n|---|\n| 1 |", "c2")))
    assert [(query.title, bool(query.output)) for query in read.answer().queries] == [
        ("Two", True),
        ("By region again", False),
    ]


def test_the_part_of_a_report_that_describes_a_result_belongs_to_its_query_and_is_no_text() -> None:
    columns = [{"name": "region"}, {"name": "total"}]
    described = {"sql": SQL.replace("\n", " "), "columns": columns, "preview_rows": [["EU", "1.50"]]}
    read = AgentResponse()
    read.take_event(item("done", call()))
    read.take_event(item("done", message(said("EU leads :citation[volume_file.1]."), said("| |", metadata=described))))
    answer = read.answer()
    assert answer.report == "EU leads."
    result = result_of(answer.queries[0])
    assert result is not None
    assert result.rows == (("EU", "1.50"),)


def test_sources_are_cited_once_and_only_by_addresses_of_the_web() -> None:
    cited = {"type": "url_citation", "url": "https://example.com/a", "title": "A"}
    read = AgentResponse()
    read.take_event(item("done", message(said("x", annotations=[cited, cited, {"url": "javascript:alert(1)"}, 7]))))
    assert [(source.title, source.url) for source in read.answer().sources] == [("A", "https://example.com/a")]


def test_the_items_after_the_last_question_are_those_of_the_response() -> None:
    question = {"type": "message", "id": "x_input", "role": "user", "content": []}
    newest = [message(said("New.")), call(), question, message(said("Old."), id="old"), question]
    read = AgentResponse()
    assert [each["type"] for each in read.take_newest(newest)] == ["function_call", "message"]
    assert read.has_report
    assert read.answer().report == "New."
    assert not read.take_newest(newest)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "response.failed", "response": response(status="failed", error={"code": "X"})}, "X"),
        ({"type": "response.failed", "response": response(error=None, status="failed")}, "UNKNOWN"),
        ({"type": "response.done", "response": response(status="failed")}, "UNKNOWN"),
        (
            {"type": "response.completed", "response": response(status="cancelled")},
            "MESSAGE_CANCELLED_WHILE_EXECUTING",
        ),
        ({"type": "error", "error_code": "NO_WAREHOUSE", "message": {"nested": 1}}, "NO_WAREHOUSE"),
        ({"type": "response.completed", "response": [1]}, ""),
        ({"type": "response.unheard_of"}, None),
        ({}, None),
    ],
)
def test_how_a_response_ends(event: dict[str, Any], code: str | None) -> None:
    read = AgentResponse()
    read.take_event(event)
    assert (read.error_code if read.ended else None) == code


def test_an_error_of_the_system_among_the_items_is_a_failure() -> None:
    read = AgentResponse()
    read.take_newest([message(said("It broke."), role="system")])
    assert (read.ended, read.error_code) == (True, "UNKNOWN")


@pytest.mark.parametrize(
    ("markdown", "types", "row"),
    [
        (
            "T\n\n| a | b |\n| --- | ---: |\n| x | 12345678901234567890.10 |",
            "STRING DECIMAL",
            ("x", "12345678901234567890.10"),
        ),
        ("| year | n |\n|---|---|\n| 1998 | 7 |", "BIGINT BIGINT", (1998, 7)),
        ("a | b\n- | -\n2026-01-31 | 3.336E8", "DATE DOUBLE", ("2026-01-31", 333_600_000)),
        (
            "| zip | at |\n|:-:|---|\n| 01234 | 2026-01-31 10:00:00 |",
            "STRING TIMESTAMP",
            ("01234", "2026-01-31 10:00:00"),
        ),
        ("| a |\n|---|\n| x \\| y |", "STRING", ("x | y",)),
        ("| a | b |\n|---|---|\n| null | null |\n| 1 | word |", "BIGINT STRING", (None, "null")),
        ("| a | b |\n|---|---|\n| only |\n", "STRING STRING", ("only", None)),
        ("| a |\n|---|\n| 1,234 |", "STRING", ("1,234",)),
    ],
)
def test_a_markdown_table_is_typed_by_its_values_and_loses_no_digit(
    markdown: str, types: str, row: tuple[Cell, ...]
) -> None:
    result = result_of(AgentQuery(SQL, output=markdown))
    assert result is not None
    assert " ".join(column.type_name for column in result.columns) == types
    assert result.rows[0] == row


def test_types_and_totals_that_genie_tells_are_used() -> None:
    columns = [{"name": "n", "type": "STRING"}, {"name": "v", "type_name": "DECIMAL(10,2)"}]
    metadata = {"columns": columns, "preview_rows": [["1", "2.50"], 7], "total_row_count": 900}
    result = result_of(AgentQuery(SQL, output="| n |\n|---|\n| 5 |", metadata=metadata))
    assert result is not None
    assert (result.rows, result.total_rows) == ((("1", "2.50"),), 900)


@pytest.mark.parametrize("rows", [99, 100])
def test_a_table_as_long_as_genie_tells_may_go_on(rows: int) -> None:
    result = result_of(AgentQuery(SQL, output="| a |\n|---|\n" + "| 1 |\n" * rows))
    assert result is not None
    assert result.truncated is (rows == 100)


@pytest.mark.parametrize("output", ["", "No rows.", "| a |", "|---|", "a\n---\nb", "|\n|"])
def test_text_without_a_table_is_no_result(output: str) -> None:
    assert result_of(AgentQuery(SQL, output=output)) is None


KEYS = [
    "type",
    "id",
    "item",
    "response",
    "content",
    "text",
    "role",
    "metadata",
    "columns",
    "preview_rows",
    "sql",
    "output",
]
WORDS = [
    "message",
    "function_call",
    "function_call_output",
    "execute_sql",
    "response.output_item.done",
    "| a |\n|---|\n| 1 |",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(WORDS),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.sampled_from(KEYS), each, max_size=6),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON), max_size=4), st.lists(JSON, max_size=4))
def test_no_events_and_no_items_break_the_reading(events: list[dict[str, Any]], newest: list[Any]) -> None:
    read = AgentResponse()
    for event in events:
        read.take_event(event)
    read.take_newest(newest)
    assert isinstance(read.has_report, bool)
    for query in read.answer().queries:
        result_of(query)
