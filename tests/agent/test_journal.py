"""The recorded steps of a turn come back from their JSON as they were."""

from __future__ import annotations

import pytest

from app.agent.journal import (
    NOTHING_RECORDED,
    JournalUnreadableError,
    RecordedCall,
    RecordedSteps,
    ToolStep,
    recorded_from_json,
    recorded_to_json,
)
from app.content.blocks import Citation, Column, Table
from app.models.model import Source, ToolCall
from app.tools.base import ToolResult


def test_recorded_steps_come_back_as_they_were() -> None:
    table = Table((Column("city"),), (("Lisbon",), (None,)))
    result = ToolResult("1 row", True, (table,), (Source("Cities", "https://a"),))
    call = ToolCall("1", "query", '{"sql": "\ud83d"}', {"extra_content": {"signature": "c2ln"}})
    calls = (RecordedCall(call, started=True, result=result), RecordedCall(ToolCall("2", "repair", "{}")))
    recorded = RecordedSteps((ToolStep("Let me see.", calls),), "Let me see.", (Citation(1, "Cities"),))
    assert recorded_from_json(recorded_to_json(recorded)) == recorded
    assert recorded_from_json("") == NOTHING_RECORDED


@pytest.mark.parametrize("text", ["{", "[]", '{"steps": [{"message": 1}]}', "[" * 100_000])
def test_what_is_no_journal_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(JournalUnreadableError) as refused:
        recorded_from_json(text)
    assert len(str(refused.value)) < 100
