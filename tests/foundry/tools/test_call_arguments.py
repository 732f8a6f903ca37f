"""What a model writes into a call's arguments: read where it is sure what is meant, else refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.foundry.tools.call_arguments import MAX_QUERIES, MAX_QUERY_CHARACTERS, questions_of, text_argument
from app.foundry.tools.foundry_tool import RefusedCallError

TEN = [f"Question {n}?" for n in range(MAX_QUERIES)]


@pytest.mark.parametrize(
    ("arguments", "questions"),
    [
        ({"query": "  Sales?\n"}, ["Sales?"]),
        ({"query": "Sales?", "outputqueueuri": "https://evil.example/q", "conversation": "7"}, ["Sales?"]),
        ({"queries": ["A?", "B?"]}, ["A?", "B?"]),
        ({"query": "A?", "queries": ["B?", "A?", "", "  "]}, ["A?", "B?"]),
        ({"query": None, "queries": ["A?"]}, ["A?"]),
        ({"query": ["A?", "B?"]}, ["A?", "B?"]),
        ({"queries": '["A?", "B?"]'}, ["A?", "B?"]),
        ({"queries": "A?"}, ["A?"]),
        ({"queries": [{"query": "A?"}, {"query": "B?"}]}, ["A?", "B?"]),
        ({"query": "[sic] is what?"}, ["[sic] is what?"]),
        ({"query": "[1, 2]: which is larger?"}, ["[1, 2]: which is larger?"]),
        ({"query": "[" * 20_000}, ["[" * 20_000]),
        ({"query": "a\0b \ud83d\ude00 \ud83d"}, ["ab 😀 �"]),
        ({"query": 7}, ["7"]),
        ({"queries": [7, "8"]}, ["7", "8"]),
        ({"run": "", "job_id": 7, "name": "etl"}, ["7"]),
        ({"query": "etl", "job_id": 7}, ["etl"]),
        ({"queries": TEN}, TEN),
        ({"query": TEN[0], "queries": TEN}, TEN),
    ],
)
def test_a_call_asks_one_question_or_several(arguments: dict[str, Any], questions: list[str]) -> None:
    assert list(questions_of(arguments, also=("run", "job_id", "name"))) == questions


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "There is no question"),
        ({"query": ""}, "There is no question"),
        ({"queries": []}, "There is no question"),
        ({"query": True}, "query has to be a text."),
        ({"query": {"query": "A?"}}, "query has to be a text."),
        ({"queries": 7.5}, "queries has to be a list of texts."),
        ({"queries": ["A?", None]}, "queries has to be a list of texts."),
        ({"queries": [["A?"]]}, "queries has to be a list of texts."),
        ({"queries": [*TEN, "One more?"]}, "11 questions are too many"),
        ({"query": "x" * (MAX_QUERY_CHARACTERS + 1)}, "it may have 20,000 characters"),
    ],
)
def test_what_is_no_question_is_refused_in_words(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RefusedCallError, match=sentence):
        questions_of(arguments)


@pytest.mark.parametrize(
    ("value", "text"),
    [("7", "7"), (7, "7"), (7.0, "7"), (" 7 ", "7"), (None, ""), ("", ""), (0, "0"), (10**18, str(10**18))],
)
def test_an_id_may_be_a_number_or_a_text(value: object, text: str) -> None:
    assert text_argument({"job": value}, "job") == text


@pytest.mark.parametrize("value", [True, 7.5, [7], {"id": 7}, 10**30, float("inf"), float("nan"), "x" * 2_000])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(RefusedCallError):
        text_argument({"job": value}, "job")


TEXT = st.text('[]{}",: ?a1\\\n\0\ud83d\ude00', max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.just("query") | TEXT, each, max_size=4),
    max_leaves=10,
)


@given(st.fixed_dictionaries({}, optional={"query": JSON, "queries": JSON | JSON.map(json.dumps)}))
def test_whatever_comes_is_read_or_refused(arguments: dict[str, Any]) -> None:
    try:
        questions = questions_of(arguments)
    except RefusedCallError:
        return
    assert 1 <= len(questions) == len(set(questions)) <= MAX_QUERIES
    assert all(each.strip() == each != "" for each in questions)
