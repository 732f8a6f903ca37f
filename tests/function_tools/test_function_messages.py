"""Answers of functions as they are found on queues, and what is none."""

from __future__ import annotations

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.function_tools.function_messages import (
    MAX_VALUE_CHARACTERS,
    FunctionAnswer,
    UnreadableAnswerError,
    question,
    read_answer,
)
from app.storage.documents import MAX_DOCUMENT_CHARACTERS

PLAIN = '{"Value": "21 °C", "CorrelationId": "c-1"}'


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_question_is_as_foundry_writes_it_nested_or_beside() -> None:
    assert json.loads(question({"city": "Köln"}, "c-1")) == {"function_args": {"city": "Köln"}, "CorrelationId": "c-1"}
    beside = question({"city": "Köln"}, "c-1", nested=False)
    assert json.loads(beside) == {"city": "Köln", "CorrelationId": "c-1"}
    question({"city": "\ud83d"}, "c-1").encode()
    traced = json.loads(question({}, "c-1", traceparent="00-a-b-01"))
    assert traced == {"function_args": {}, "CorrelationId": "c-1", "traceparent": "00-a-b-01"}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        base64_of(PLAIN),
        # A file that was written on Windows, a serializer that writes names in camel case.
        "\ufeff \r\n" + PLAIN,
        '{"value": "21 °C", "correlationId": "c-1", "other": 1}',
        '{"correlationid": " c-1\\n", "VALUE": "21 °C"}',
        # A text that is JSON already, through what writes JSON: dapr/components-contrib#1130. Base64 of base64:
        # Azure/azure-functions-host#3886.
        json.dumps(PLAIN),
        base64_of(json.dumps(PLAIN)),
        json.dumps(base64_of(PLAIN)),
        base64_of(base64_of(PLAIN)),
        # Set out over lines by the host: Azure/azure-functions-host#9581.
        json.dumps(json.loads(PLAIN), indent=2),
        base64_of(json.dumps(json.loads(PLAIN), indent=2).replace("\n", "\r\n")),
        # Base64 in lines, as some encoders write it.
        "\n".join(base64_of(PLAIN)[n : n + 16] for n in range(0, 80, 16)),
    ],
)
def test_an_answer_is_read_however_it_is_written(content: str) -> None:
    assert read_answer(content) == FunctionAnswer("c-1", "21 °C")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("null", ""),
        ("21.5", "21.5"),
        ("false", "false"),
        ('{"degrees": 21, "note": "schön"}', '{"degrees": 21, "note": "schön"}'),
        ('["a", 1]', '["a", 1]'),
        ('"\\ud83d\\u0000\\u0007 \\t|"', "\ufffd   \t|"),
        ('"' + "x" * 40_000 + '"', "x" * MAX_VALUE_CHARACTERS + "\n[The rest, 10000 characters, was left out.]"),
    ],
)
def test_a_value_of_any_kind_becomes_text(value: str, text: str) -> None:
    assert read_answer(f'{{"CorrelationId": "c-1", "Value": {value}}}').value == text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "no JSON object"),
        ("done!", "neither JSON nor base64"),
        ("gIA=", "neither JSON nor base64"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[" + PLAIN + "]", "neither"),
        ('"' + "a" * 9 + '"', "neither"),
        ('{"Value": 1}', "no CorrelationId"),
        ('{"Value": 1, "CorrelationId": 7}', "no CorrelationId"),
        ('{"Value": 1, "CorrelationId": " "}', "no CorrelationId"),
        ('{"Value": 1, "CorrelationId": "' + "c" * 300 + '"}', "too long"),
        ('{"Value": 1, "CorrelationId": "c\\ud83d"}', "characters that none of ours has"),
        ('{"Value": 1, "CorrelationId": "c\\u0000"}', "characters that none of ours has"),
        ('{"CorrelationId": "c-1", "result": 1}', "no Value"),
        (base64_of(base64_of(base64_of(base64_of(base64_of(PLAIN))))), "no JSON object"),
    ],
)
def test_what_is_no_answer_says_why_and_quotes_nothing(content: str, why: str) -> None:
    with pytest.raises(UnreadableAnswerError, match=why):
        read_answer(content)


@given(st.text() | st.from_regex(r'\s*[{\["]?.*(CorrelationId|Value)?.*', fullmatch=True), st.booleans())
def test_no_content_raises_anything_else(content: str, encoded: bool) -> None:
    with suppress(UnreadableAnswerError):
        read_answer(base64_of(content) if encoded else content)


@given(st.text(min_size=1, max_size=50))
def test_the_longest_value_fits_a_row(piece: str) -> None:
    value = (piece * MAX_VALUE_CHARACTERS)[: MAX_VALUE_CHARACTERS + 10]
    answer = read_answer(json.dumps({"CorrelationId": "c", "Value": value}))
    row = json.dumps({"asked_at": 1_800_000_000.5, "value": answer.value}, ensure_ascii=False)
    assert len(row) < MAX_DOCUMENT_CHARACTERS
