"""The recorded steps of a turn come back from their JSON as they were."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.agent.journal import (
    NOTHING_RECORDED,
    ApprovalRequest,
    JournalUnreadableError,
    RecordedCall,
    RecordedSteps,
    ToolStep,
    recorded_from_json,
    recorded_to_json,
)
from app.common.caller import Caller
from app.content.blocks import Column, Table, Text
from app.content.citation import Citation
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


def test_what_this_version_writes_will_be_read_by_later_ones() -> None:
    """The rows of turns that are suspended hold this: change the code, not the text."""
    call = '{"id":"1","name":"query","arguments":"{}","extra":{}}'
    source = '{"title":"Cities","url":null,"quote":""}'
    block = '{"text":"1 row","kind":"text"}'
    result = f'{{"text":"1","succeeded":true,"blocks":[{block}],"citations":[{source}]}}'
    recorded = f'{{"call":{call},"started":true,"result":{result}}}'
    citation = '{"position":1,"title":"Cities","url":null,"quote":"","kind":"citation"}'
    steps = f'[{{"message":"Hm.","calls":[{recorded}]}}]'
    text = f'{{"v":1,"steps":{steps},"answer_text":"Hm.","citations":[{citation}]}}'
    kept = ToolResult("1", True, (Text("1 row"),), (Source("Cities"),))
    step = ToolStep("Hm.", (RecordedCall(ToolCall("1", "query", "{}"), started=True, result=kept),))
    assert recorded_from_json(text) == RecordedSteps((step,), "Hm.", (Citation(1, "Cities"),))
    request = (
        '"approval":{"tool_digest":"ab","asked_by":{"tenant_id":"t","user_id":"","entra_object_id":"","name":"Ann"}'
    )
    asked = text.replace(
        "}]}}]}],", '}],"is_untrusted":true,"sentence":"","feedback_targets":[]},' + request + ',"expires_at":1.5}}]}],'
    )
    kept = replace(kept, is_untrusted=True)
    call_of = replace(step.calls[0], result=kept, approval=ApprovalRequest("ab", Caller("t", name="Ann"), 1.5))
    assert recorded_from_json(asked) == RecordedSteps(
        (replace(step, calls=(call_of,)),), "Hm.", (Citation(1, "Cities"),)
    )
    assert recorded_to_json(recorded_from_json(asked)) == asked


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"v": 1, "steps": [{"message": 1}]}', '{"v": 2, "steps": []}', "[" * 100_000]
)
def test_what_is_no_journal_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(JournalUnreadableError) as refused:
        recorded_from_json(text)
    assert len(str(refused.value)) < 100
