"""Messages of Genie from public bug reports of those who read its API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.genie.genie_message import GenieMessage, parse_message
from app.local.genie_messages import GenieMessage as StandInMessage
from tests.genie.test_genie_tool import BY_MONTH, a_space, rows_of

IDS = {"id": "m", "conversation_id": "c", "status": "COMPLETED"}


def query(sql: str, **more: object) -> dict[str, Any]:
    return {"attachment_id": f"a-{sql}", "query": {"query": sql, **more}}


def text(content: str, purpose: str | None = None, **more: object) -> dict[str, Any]:
    return {"text": {"content": content} | ({"purpose": purpose} if purpose else {}), **more}


def read(message: GenieMessage) -> dict[str, object]:
    """What is there."""
    told = {
        "sql": message.query and message.query.sql,
        "texts": message.texts,
        "details": message.details,
        "clarification": message.clarification,
        "follow_ups": message.follow_ups,
        "error": message.error_type,
    }
    return {name: value for name, value in told.items() if value}


MESSAGES: dict[str, tuple[dict[str, Any], dict[str, object]]] = {
    "databricks/databricks-ai-bridge#163": ({"attachments": None}, {}),
    "databricks/databricks-ai-bridge#315": ({"attachments": [query("S"), {"text": None}]}, {"sql": "S"}),
    "databricks/databricks-ai-bridge#432": (
        {"attachments": [text("Revenue grew."), query("S"), text("Shall I go on by year?")]},
        {"sql": "S", "texts": ("Revenue grew.", "Shall I go on by year?")},
    ),
    "databricks/databricks-ai-bridge#432, corrected": (
        {"attachments": [query("S1"), text("That was wrong."), query("S2"), text("Revenue grew.")]},
        {"sql": "S2", "texts": ("Revenue grew.",), "details": ("That was wrong.",)},
    ),
    "databricks/databricks-ai-bridge#443": (
        {"attachments": [query("S"), text("By year?", "FOLLOW_UP_QUESTION", attachment_id="f"), text("Revenue grew.")]},
        {"sql": "S", "texts": ("Revenue grew.",), "clarification": "By year?"},
    ),
    "databricks-solutions/databricks-apps-cookbook#39": (
        {"attachments": [query("S", description="d", query_result_metadata={"row_count": 1}, thoughts=[{}])]},
        {"sql": "S"},
    ),
    "databricks/databricks-ai-bridge#574": (
        {"attachments": [query("S"), {"attachment_id": "v", "viz": {"title": "t"}}, {"added_next_year": {}}]},
        {"sql": "S"},
    ),
    "databricks/databricks-sdk-py#939": (
        {"status": "FAILED", "error": {"error": "boom"}, "attachments": [query("S")]},
        {"sql": "S", "error": "UNKNOWN"},
    ),
    "databricks-solutions/ai-dev-kit#231": (
        {"attachments": [text("The data has no such column.")]},
        {"texts": ("The data has no such column.",)},
    ),
}


@pytest.mark.parametrize(("told", "found"), MESSAGES.values(), ids=MESSAGES.keys())
def test_a_message_that_others_misread_is_read(told: dict[str, Any], found: dict[str, object]) -> None:
    assert read(parse_message({**IDS, **told})) == found


async def test_a_question_back_beside_an_answer_hides_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """databricks/databricks-ai-bridge#443"""
    attachments = StandInMessage._attachments

    def with_question(message: StandInMessage) -> list[dict[str, Any]]:
        told = attachments(message)
        return [*told, text("Shall I go on by year?", "FOLLOW_UP_QUESTION")] if len(told) > 1 else told

    monkeypatch.setattr(StandInMessage, "_attachments", with_question)
    async with a_space(tmp_path) as space:
        result = await space.ask(BY_MONTH)
    assert result.succeeded
    assert rows_of(result)
    assert "Shall I go on by year?" in result.text
