"""What is read from a message of Genie, and what is said about a failure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.genie import genie_sentences
from app.genie.genie_message import parse_message
from app.genie.genie_sentences import PROGRESS, failure_sentence

IDS = {"message_id": "m", "conversation_id": "c"}


def query(sql: str, **more: str) -> dict[str, Any]:
    return {"attachment_id": f"a-{sql}", "query": {"query": sql, "title": sql, **more}}


def text(content: str, **more: str) -> dict[str, Any]:
    return {"text": {"content": content, **more}}


def test_the_last_query_is_the_answer_and_what_led_to_it_are_details() -> None:
    attachments = [
        text("I look at the years first."),
        query("SELECT 1"),
        text("Now the months.", phase="THINKING"),
        query("SELECT 2", statement_id="s2"),
        text("Revenue grew."),
        text("Checked.", phase="VERIFYING"),
        {"suggested_questions": {"questions": ["By year?", "By year?", "", 3, "x" * 101]}},
    ]
    message = parse_message({**IDS, "status": "COMPLETED", "attachments": attachments})
    assert message.query is not None
    assert (message.query.sql, message.query.statement_id) == ("SELECT 2", "s2")
    assert message.texts == ("Revenue grew.",)
    assert message.details == ("I look at the years first.", "Now the months.", "Checked.")
    assert message.follow_ups == ("By year?",)


def test_a_follow_up_question_is_a_question_back() -> None:
    message = parse_message({**IDS, "attachments": [text("Which year?", purpose="FOLLOW_UP_QUESTION")]})
    assert (message.clarification, message.texts, message.status) == ("Which year?", (), "SUBMITTED")


@pytest.mark.parametrize("told", [{}, {"message_id": "m"}, {"conversation_id": "c", "id": 7}])
def test_what_has_no_ids_is_no_message(told: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="without its id"):
        parse_message(told)


KEYS = ["text", "query", "content", "attachments", "questions", "suggested_questions", "phase", "error"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.sampled_from(KEYS), each),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["attachments", "status", "error"]), JSON))
def test_any_json_is_read(told: dict[str, Any]) -> None:
    parse_message({**told, **IDS})


def test_every_error_type_and_state_of_the_sdk_has_its_sentence() -> None:
    from databricks.sdk.service.dashboards import MessageErrorType, MessageStatus

    grouped = [name for names in genie_sentences.GROUPS.values() for name in names.split()]
    assert len(grouped) == len({*grouped}) == 61
    assert {each.value.removesuffix("_EXCEPTION") for each in MessageErrorType} == {*grouped}
    assert set(PROGRESS) <= {each.value for each in MessageStatus}


@pytest.mark.parametrize(
    ("error_type", "said"),
    [
        ("TOO_MANY_TABLES_EXCEPTION", "not set up completely"),
        ("INTERNAL_CATALOG_MISSING_UC_PATH_EXCEPTION", "not set up completely"),
        ("FUNCTION_CALL_MISSING_PARAMETER_EXCEPTION", "query that Genie wrote failed"),
        ("INVALID_TABLE_IDENTIFIER_EXCEPTION", "query that Genie wrote failed"),
        ("MESSAGE_ATTACHMENT_TOO_LONG_ERROR", "too large"),
        ("MESSAGE_CANCELLED_WHILE_EXECUTING_EXCEPTION", "was cancelled"),
        ("RATE_LIMIT_EXCEEDED_SPECIFIED_WAIT_EXCEPTION", "busy"),
        ("DESCRIBE_QUERY_TIMEOUT", "took too long"),
        ("WAREHOUSE_ACCESS_MISSING_EXCEPTION", "CAN USE"),
        ("COULD_NOT_GET_UC_SCHEMA_EXCEPTION", "grants in Unity Catalog"),
        ("CONTENT_FILTER_EXCEPTION", "content filter"),
        ("ADDED_NEXT_YEAR_EXCEPTION", "a reason of its own"),
    ],
)
def test_a_failure_says_what_to_do(error_type: str, said: str) -> None:
    assert said in failure_sentence(error_type).english


def test_names_of_tools_are_unique_and_fit_whatever_the_titles_are() -> None:
    from app.genie.provider import tool_names
    from app.settings.genie_settings import GenieSpace

    titles = ["Sales", "Sales", "売上", "", "A very long title " * 10]
    names = tool_names(
        [GenieSpace(id=f"01ef{n:028x}", alias=title[:200], description="") for n, title in enumerate(titles)]
    )
    assert len(set(names)) == len(names)
    assert all(len(name) <= 64 for name in names)


@pytest.mark.parametrize(
    ("viz", "found"),
    [
        ({"attachment_id": "v", "viz": {"query_attachment_id": "a-SELECT 2", "title": "Chart"}}, "v"),
        ({"id": "v", "viz": {}}, "v"),
        ({"attachment_id": "v", "viz": {"query_attachment_id": "a-SELECT 1"}}, ""),
        ({"attachment_id": "v", "viz": None}, ""),
        ({"attachment_id": 7, "viz": {"query_attachment_id": 7}}, ""),
    ],
)
def test_the_picture_of_the_last_query_is_found(viz: dict[str, Any], found: str) -> None:
    message = parse_message({**IDS, "attachments": [query("SELECT 1"), query("SELECT 2"), viz]})
    assert message.visualization_id == found
