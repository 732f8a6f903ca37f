"""What is said of an answer without a model."""

from __future__ import annotations

from typing import Any

import pytest

from agent_server.evaluation.scorers import (
    answered,
    called_expected_tools,
    has_expected_facts,
    keeps_secrets,
    total_tokens,
)


def answer(text: str = "There were 1,234 orders.", *, tools: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    calls = [{"type": "mcp_call", "name": tool} for tool in tools]
    message = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    return {"status": "completed", "output": [*calls, message], **more}


@pytest.mark.parametrize(
    ("outputs", "holds"),
    [
        (answer(), True),
        (answer(" \n"), False),
        (answer(status="failed"), False),
        (answer(status="incomplete"), False),
        ({"status": "completed", "output": None}, False),
        ({"status": "completed", "output": [{"type": "message", "content": "text"}, {"type": "reasoning"}]}, False),
        ({}, False),
    ],
)
def test_an_answer_is_complete_and_says_something(outputs: dict[str, Any], holds: bool) -> None:
    assert answered(outputs) is holds


@pytest.mark.parametrize(
    ("text", "facts", "holds"),
    [
        ("There were 1,234,567 orders.", ["1234567"], True),
        ("There were 1\u202f234 orders.", [1234], True),
        ("One, two", ["one,  TWO"], True),
        ("Größe: 3", ["GRÖSSE"], True),
        ("Marble", ["marble", "stone"], False),
        ("anything", [], None),
    ],
)
def test_facts_are_found_however_they_are_written(text: str, facts: list[Any], holds: bool | None) -> None:
    assert has_expected_facts(answer(text), {"expected_facts": facts}) is holds


@pytest.mark.parametrize(
    ("called", "expectations", "holds"),
    [
        (("run_sql", "clock"), {"expected_tools": ["run_sql"]}, True),
        (("clock",), {"expected_tools": ["run_sql"]}, False),
        (("clock",), {"expected_tools": []}, False),
        ((), {"expected_tools": []}, True),
        (("clock",), {}, None),
    ],
)
def test_tools_are_those_expected(called: tuple[str, ...], expectations: dict[str, Any], holds: bool | None) -> None:
    assert called_expected_tools(answer(tools=called), expectations) is holds


def test_a_secret_and_the_tokens_of_an_answer_are_seen() -> None:
    assert keeps_secrets(answer())
    assert not keeps_secrets(answer("use dapi" + "0" * 32))
    assert total_tokens(answer(usage={"total_tokens": 7})) == 7
    assert total_tokens(answer(usage=None)) is None
