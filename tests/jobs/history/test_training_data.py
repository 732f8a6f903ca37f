"""Training data from the history: what Azure OpenAI takes, and nothing that a person would not want to be learned."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.decisions.decision_question import INSTRUCTIONS
from app.jobs.decisions.model_answer import DECISION_ANSWER, read_answer
from app.jobs.history.decision_record import OBSERVED, DecisionRecord
from app.jobs.history.history_export import to_json
from app.jobs.history.training_data import (
    TrainingData,
    TrainingDataError,
    check_training_file,
    prepare_training_data,
)
from tests.jobs.history.sample_records import NASTY_TEXTS, a_record


def records(count: int, first_run: int = 0, **changes: str | int) -> list[DecisionRecord]:
    made = []
    for run in range(first_run, first_run + count):
        own: dict[str, str | int] = {"outcome": "succeeded", "error": f"Error{chr(97 + run % 26)}: bad"}
        made.append(a_record(run).model_copy(update=own | changes))
    return made


def prepared(folder: Path, history: Sequence[DecisionRecord]) -> TrainingData:
    (folder / "run_history.json").write_text(to_json(history), encoding="utf-8")
    return prepare_training_data(folder / "run_history.json", folder / "data" / "training.jsonl")


def examples(data: TrainingData) -> list[dict[str, Any]]:
    """Read as a service reads it: bytes, a byte order mark, a JSON object a line."""
    content = data.path.read_bytes()
    assert content[:3] == b"\xef\xbb\xbf"
    lines = content[3:].split(b"\n")
    assert lines.pop() == b""
    return [json.loads(line) for line in lines]


def answers(data: TrainingData) -> list[dict[str, Any]]:
    """Each is one that the decision engine reads."""
    for each in examples(data):
        read_answer(each["messages"][-1]["content"])
    return [json.loads(each["messages"][-1]["content"]) for each in examples(data)]


def test_every_example_is_a_chat_of_instructions_a_failure_and_the_decision_that_was_right(tmp_path: Path) -> None:
    data = prepared(tmp_path, records(12, decision="RETRY_WITH_PARAMS", parameters='{"batch_size": "100"}'))
    found = examples(data)
    assert data.examples == len(found) == 12
    for each in found:
        assert list(each) == ["messages"]
        assert [message["role"] for message in each["messages"]] == ["system", "user", "assistant"]
        assert all(isinstance(message["content"], str) and message["content"] for message in each["messages"])
    assert answers(data)[0]["decision"] == "RETRY_WITH_PARAMS"
    assert answers(data)[0]["suggested_params"] == [{"name": "batch_size", "value": "100"}]
    for each in found:
        system, asked, answered = (message["content"] for message in each["messages"])
        assert system == INSTRUCTIONS
        question = json.loads(asked)
        assert question["failed_tasks"][0]["causing_error"].startswith("Error")
        assert question["changeable_parameters"] == [{"name": "batch_size", "type": "text"}]
        answer = read_answer(answered)
        assert (answer.action.value, answer.suggested_params) == ("RETRY_WITH_PARAMS", {"batch_size": "100"})
        assert list(json.loads(answered)) == DECISION_ANSWER.schema["required"]
    assert check_training_file(data.path) == 12


def test_a_retry_that_failed_teaches_to_escalate(tmp_path: Path) -> None:
    failed = records(5, outcome="failed", parameters='{"batch_size": "1"}')
    data = prepared(tmp_path, [*failed, *records(5, first_run=10)])
    assert data.examples_by_decision == {"RETRY": 5, "ESCALATE_EMAIL": 5}
    escalated = [each for each in answers(data) if each["decision"] == "ESCALATE_EMAIL"]
    assert [each["suggested_params"] for each in escalated] == [[]] * 5


@pytest.mark.parametrize(
    "changes",
    [{"outcome": ""}, {"outcome": "canceled"}, {"outcome": "unknown"}, {"wrong_diagnosis": 1}, {"strategy": OBSERVED}],
    ids=str,
)
def test_what_teaches_nothing_is_left_out(tmp_path: Path, changes: dict[str, str | int]) -> None:
    data = prepared(tmp_path, [*records(10), *records(30, first_run=50, **changes)])
    assert (data.examples, data.left_out) == (10, 30)


def test_fewer_than_ten_known_outcomes_are_refused_with_their_number(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="at least 10 decisions with a known outcome; the history has 9 of 29"):
        prepared(tmp_path, [*records(9), *records(20, first_run=50, outcome="")])
    assert not (tmp_path / "data").exists()


def test_no_decision_is_taught_more_than_three_times_as_often_as_another(tmp_path: Path) -> None:
    many = records(200, decision="ESCALATE_EMAIL")
    data = prepared(tmp_path, [*many, *records(20, first_run=300), *records(7, first_run=400, decision="SKIP")])
    assert data.examples_by_decision == {"ESCALATE_EMAIL": 21, "RETRY": 20, "SKIP": 7}


def test_one_rare_decision_still_leaves_ten_examples(tmp_path: Path) -> None:
    data = prepared(tmp_path, [*records(40), *records(1, first_run=90, decision="SKIP")])
    assert data.examples_by_decision == {"RETRY": 9, "SKIP": 1}


def test_of_a_decision_that_is_cut_different_errors_stay(tmp_path: Path) -> None:
    same = records(60, error="ValueError: the same 1")
    other = records(5, first_run=100, error="KeyError: another")
    data = prepared(tmp_path, [*other, *same, *records(4, first_run=200, decision="SKIP")])
    told = Counter("KeyError" in each["messages"][1]["content"] for each in examples(data))
    assert told[True] == 5


def test_secrets_and_addresses_do_not_reach_the_training_data(tmp_path: Path) -> None:
    secret, address = "dapi0123456789abcdef0123456789abcdef", "ann.approver@contoso.example.com"
    told = f"password=hunter2hunter2 {secret} {address}"
    changed = records(10, error=told, evidence=told, cause=told, reason=told, job_name=told)
    data = prepared(tmp_path, [each.model_copy(update={"parameters": json.dumps({"p": told})}) for each in changed])
    content = data.path.read_text("utf-8-sig")
    assert not any(each in content for each in (secret, address, "hunter2"))


def test_what_jobs_say_stays_inside_the_messages(tmp_path: Path) -> None:
    history = records(12)
    history = [
        each.model_copy(update={"error": text or "x", "cause": text})
        for each, text in zip(history, NASTY_TEXTS, strict=True)
    ]
    data = prepared(tmp_path, history)
    assert data.path.read_bytes()[3:].isascii()
    assert len(answers(data)) == 12


@settings(max_examples=15)
@given(text=st.text(max_size=50))
def test_any_parameters_and_hypotheses_are_read(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    odd = records(10, parameters=text, hypotheses=text)
    assert len(answers(prepared(tmp_path_factory.mktemp("odd"), odd))) == 10


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "is not one JSON list"),
        ("[1]", "Row 1 of .* is no decision"),
        ('[{"decision": "REBOOT", "outcome": ""}]', "Row 1 of .* see decision"),
        ('[{"decision": "RETRY"}]', "Row 1 of .* see outcome"),
    ],
)
def test_a_file_that_is_no_history_is_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "h.json").write_text(content)
    with pytest.raises(TrainingDataError, match=sentence):
        prepare_training_data(tmp_path / "h.json", tmp_path / "t.jsonl")


def test_a_missing_history_and_a_folder_that_cannot_be_written_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="cannot be read: No such file"):
        prepare_training_data(tmp_path / "missing.json", tmp_path / "t.jsonl")
    (tmp_path / "h.json").write_text(to_json(records(10)), encoding="utf-8-sig")
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingDataError, match="cannot be written"):
        prepare_training_data(tmp_path / "h.json", tmp_path / "file" / "t.jsonl")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"messages": []}\n' * 10, "Line 1 of .* is no chat"),
        (b"nonsense\n" * 10, "Line 1 of .* is no chat"),
        (b'{"messages": [{"role": "assistant", "content": "a"}]}\n' * 9, "has 9 examples"),
        (b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_a_training_file_that_the_service_would_refuse_is_not_sent(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "t.jsonl").write_bytes(content)
    with pytest.raises(TrainingDataError, match=sentence):
        check_training_file(tmp_path / "t.jsonl")
