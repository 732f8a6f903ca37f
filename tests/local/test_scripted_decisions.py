"""The stand-in's endpoint decides about failed runs; how well is measured in tests/evals."""

from __future__ import annotations

import json

import pytest

from app.local.scripted_decisions import scripted_decision

ASKED = {"type": "json_schema", "json_schema": {"name": "decision"}}


@pytest.mark.parametrize(
    ("content", "response_format"),
    [
        ("{}", None),
        ("{}", {"type": "json_object"}),
        ("{}", {"type": "json_schema", "json_schema": {"name": "another"}}),
        ("Why did it fail?", ASKED),
        ("[" * 100_000, ASKED),
        (None, ASKED),
    ],
)
def test_what_is_no_question_about_a_failed_run_is_left_to_the_model(content: object, response_format: object) -> None:
    assert scripted_decision([{"role": "user", "content": content}], response_format) is None


@pytest.mark.parametrize(
    "document", [{}, {"failed_tasks": "x"}, {"failed_tasks": [None, {"causing_error": 5, "cluster_ended": "y"}]}]
)
def test_odd_documents_are_escalated(document: object) -> None:
    answer = scripted_decision([{"role": "user", "content": json.dumps(document)}], ASKED)
    assert answer is not None
    assert json.loads(answer)["decision"] == "ESCALATE_EMAIL"
