"""What is read from a message of Genie, and what is said about a failure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.dictionaries(st.sampled_from(["attachments", "status", "error"]), JSON))
def test_any_json_is_read(told: dict[str, Any]) -> None:
    parse_message({**told, **IDS})


def test_every_error_type_and_state_of_the_sdk_has_its_sentence() -> None:
    from databricks.sdk.service.dashboards import MessageErrorType, MessageStatus

    assert len(MessageErrorType) >= 50
    told = {each.value: failure_sentence(each.value) for each in MessageErrorType}
    unnamed = {name for name, sentence in told.items() if sentence == failure_sentence("")}
    assert len(unnamed) <= 15, sorted(unnamed)
    assert set(PROGRESS) <= {each.value for each in MessageStatus}


def test_names_of_tools_are_unique_and_fit_whatever_the_titles_are() -> None:
    from app.genie.provider import tool_names
    from app.settings.genie_settings import GenieSpace

    titles = ["Sales", "Sales", "売上", "", "A very long title " * 10]
    names = tool_names(
        [GenieSpace(id=f"01ef{n:028x}", alias=title[:200], description="") for n, title in enumerate(titles)]
    )
    assert len(set(names)) == len(names)
    assert all(len(name) <= 64 for name in names)
