"""What the stand-in's agents decide."""

from __future__ import annotations

from typing import Any

import pytest

from app.local.foundry_stand_in.script import ChosenCall, OfferedTool, next_step

TEXT = {"type": "string"}
ASK = OfferedTool("ask", {"type": "object", "properties": {"query": TEXT}, "required": ["query"]}, {})
MANY = OfferedTool("ask_many", {"type": "object", "properties": {"query": TEXT, "queries": {"type": "array"}}}, {})
DIAGNOSE = OfferedTool(
    "diagnose_job", {"type": "object", "properties": {"run": {"type": "integer"}, "job": TEXT}, "required": ["job"]}, {}
)
OLD = OfferedTool("old", {"properties": {"query": TEXT, "outputqueueuri": TEXT}}, {"outputqueueuri": "http://q/out"})
RESULT = OfferedTool("get_result", {"type": "object", "properties": {"handle": TEXT}}, {})


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def output(value: object, kind: str = "function_call_output") -> dict[str, Any]:
    return {"type": kind, "output": value}


@pytest.mark.parametrize(
    ("tools", "items", "expected"),
    [
        ([ASK], [said("How many?")], [ChosenCall("ask", {"query": "How many?"})]),
        ([RESULT, ASK], [said("How many?")], [ChosenCall("ask", {"query": "How many?"})]),
        ([ASK, DIAGNOSE], [said("diagnose_job 7")], [ChosenCall("diagnose_job", {"job": "diagnose_job 7"})]),
        (
            [ASK],
            [said('{"query": "x", "conversation": "c"}')],
            [ChosenCall("ask", {"query": "x", "conversation": "c"})],
        ),
        (
            [ASK],
            [said("1. One?\n2. Two?")],
            [ChosenCall("ask", {"query": "One?"}), ChosenCall("ask", {"query": "Two?"})],
        ),
        ([MANY], [said("1. One?\n2) Two?")], [ChosenCall("ask_many", {"queries": ["One?", "Two?"]})]),
        ([OLD], [said("x")], [ChosenCall("old", {"query": "x", "outputqueueuri": "http://q/out"})]),
        ([], [said("How many?")], "This is what you said: How many?"),
        ([ASK], [said("hello there")], "This is what you said: hello there"),
        ([ASK], [said("a"), output("A"), output({"n": 1})], 'A\n\n{"n": 1}'),
        ([ASK], [said("a"), output("A"), said("b")], [ChosenCall("ask", {"query": "b"})]),
        ([ASK], [said("a"), {"type": "mcp_call", "output": None, "error": "broken"}], "The tool failed: broken"),
        (
            [ASK, RESULT],
            [said("a"), output("Call get_result with the handle ask.12 to wait for it.", "mcp_call")],
            [ChosenCall("get_result", {"handle": "ask.12"})],
        ),
    ],
)
def test_an_agent_calls_the_tool_that_fits_and_repeats_what_it_said(
    tools: list[OfferedTool], items: list[dict[str, Any]], expected: object
) -> None:
    assert next_step(tools, items) == expected
