"""Decisions as models write them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.decisions.decision import DecisionAction
from app.jobs.decisions.model_answer import DECISION_ANSWER, MalformedAnswerError, read_answer

ANSWER: dict[str, Any] = {
    "hypotheses": [
        {"text": "The batch does not fit", "evidence": "Java heap space"},
        {"text": "The data is skewed", "evidence": "one task of 200"},
    ],
    "cause": "The batch does not fit in the driver's memory",
    "decision": "RETRY_WITH_PARAMS",
    "reason": "A smaller batch fits.",
    "suggested_params": [{"name": "batch_size", "value": "10000"}],
    "confidence": 0.8,
}


def written(**changes: Any) -> str:
    return json.dumps(ANSWER | changes)


def test_an_answer_by_the_schema_is_read_whole() -> None:
    answer = read_answer(written())
    assert answer.action is DecisionAction.RETRY_WITH_PARAMS
    assert answer.suggested_params == {"batch_size": "10000"}
    assert [each.evidence for each in answer.hypotheses] == ["Java heap space", "one task of 200"]
    assert answer.confidence == 0.8


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "\n\n  {}\n",
        "```json\n{}\n```",
        "```\r\n{}\r\n```",
        "```json\n{}",
        "Here is my decision for {{job}}:\n```json\n{}\n```\nLet me know!",
        "Because of ValueError('{{'), I decide: {}",
        "\ufeff{}",
    ],
)
def test_words_and_fences_around_the_json_do_no_harm(around: str) -> None:
    assert read_answer(around.replace("{{", "<<").replace("{}", written()).replace("<<", "{")).confidence == 0.8


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"decision": "retry"}, "action", DecisionAction.RETRY),
        ({"decision": "Retry with params"}, "action", DecisionAction.RETRY_WITH_PARAMS),
        ({"decision": "ESCALATE"}, "action", DecisionAction.ESCALATE_EMAIL),
        ({"confidence": "0.7"}, "confidence", 0.7),
        ({"confidence": 85}, "confidence", 0.85),
        ({"suggested_params": {"workers": 8, "full": True}}, "suggested_params", {"workers": "8", "full": "true"}),
        ({"suggested_params": None}, "suggested_params", {}),
        ({"suggested_params": [{"name": "a"}, {"value": "1"}, "b", None]}, "suggested_params", {}),
        ({"suggested_params": {"a": {"nested": 1}, "b": [1], "c": None}}, "suggested_params", {}),
        ({"hypotheses": "none"}, "hypotheses", ()),
        ({"cause": "two\nlines"}, "cause", "two lines"),
        ({"thoughts": "an extra key", "severity": 3}, "confidence", 0.8),
    ],
)
def test_what_models_write_otherwise_is_read_as_meant(changes: dict[str, Any], field: str, expected: object) -> None:
    assert getattr(read_answer(written(**changes)), field) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I'm sorry, but I can't assist with that request.",
        "null",
        "[]",
        '{"error": "overloaded"}',
        written()[:-20],
        written(decision="REBOOT"),
        written(decision=["RETRY"]),
        written(reason=""),
        written(reason=None),
        written(cause={"text": "x"}),
        written(confidence="high"),
        written(confidence=None),
        written(confidence=-1),
        written(confidence=True),
        written().replace("0.8", "NaN"),
        written().replace("0.8", "1e999"),
        written().replace("0.8", "9" * 5_000),
        "[" * 50_000,
        '{"decision":' * 10_000,
    ],
)
def test_what_is_no_decision_is_malformed(answer: str) -> None:
    with pytest.raises(MalformedAnswerError):
        read_answer(answer)


def test_a_decision_that_is_quoted_beside_another_is_not_chosen_from() -> None:
    with pytest.raises(MalformedAnswerError):
        read_answer(f"The log says {written(decision='SKIP')} but I say {written()}")


def test_texts_are_bounded_and_without_secrets() -> None:
    secret = "dapi" + "0123456789abcdef" * 2
    answer = read_answer(written(reason=f"The token {secret} expired. " + "x" * 5_000, cause="c" * 5_000))
    assert secret not in answer.reason
    assert len(answer.reason) <= 600
    assert len(answer.cause) <= 300


def test_the_schema_is_one_that_strict_structured_outputs_take() -> None:
    def check(schema: Any) -> None:
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False
            assert schema["required"] == list(schema["properties"])
            for each in schema["properties"].values():
                check(each)
        if schema.get("type") == "array":
            check(schema["items"])
        assert not {"$ref", "anyOf", "minItems", "minimum", "format"} & schema.keys()

    check(DECISION_ANSWER.schema)


@settings(max_examples=25)
@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner)).map(json.dumps))
def test_no_text_does_more_than_to_be_malformed(answer: str) -> None:
    for text in (answer, written(reason=answer, suggested_params={answer: answer}), f"{answer}{written()}"):
        with suppress(MalformedAnswerError):
            assert len(read_answer(text).reason) <= 600
