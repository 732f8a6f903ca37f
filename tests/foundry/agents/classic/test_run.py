"""What the JSON of a classic run means."""

from __future__ import annotations

from typing import Any

import pytest

from app.foundry.agents.classic_run import answer_of, read_run, tool_calls_of
from app.foundry.agents.foundry_errors import NoEndError, RefusedError


@pytest.mark.parametrize(
    ("calls", "problem"),
    [
        ([{"type": "azure_function", "azure_function": {"name": "ask"}}], ""),
        ([], ""),
        ([{"type": "function", "function": {"name": "sum"}}], "waits for sum"),
    ],
)
def test_a_run_that_waits_for_an_azure_function_requires_no_action_of_ours(
    calls: list[dict[str, Any]], problem: str
) -> None:
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": calls}}
    run = read_run({"id": "run_1", "status": "requires_action", "required_action": action})
    assert problem in str(run.problem or "")
    assert bool(run.problem) == bool(problem)
    assert not run.has_ended


def test_odd_json_is_read_as_far_as_it_goes() -> None:
    for body in ({}, {"status": None}, {"status": "requires_action", "required_action": 7}, {"status": "pondering"}):
        run = read_run(body)
        assert run.problem is None
        assert not run.has_ended
    for error in (None, 7, {"code": 7}):
        assert isinstance(read_run({"status": "failed", "last_error": error}).problem, NoEndError)
    standard = {
        "code": "invalid",
        "message": "Invalid tool value(s): azure_function. Use the Enterprise Standard offering.",
    }
    assert "standard set-up" in str(read_run({"status": "failed", "last_error": standard}).problem)
    assert tool_calls_of([{}, {"step_details": {"tool_calls": [{"type": "bing"}, {}, 7]}}]) == ("bing", "", "")
    assert answer_of([{}, {"role": "user", "content": [{"text": {"value": "No."}}]}, {"role": "assistant"}]) == ""


def test_sources_that_are_annotations_become_numbered_links() -> None:
    def cited(marker: str, url: str) -> dict[str, Any]:
        return {"type": "url_citation", "text": marker, "url_citation": {"url": url, "title": "Contract"}}

    annotations = [cited("【1†source】", "https://a.example"), cited("【2†source】", "javascript:alert(1)")]
    part = {"type": "text", "text": {"value": "In May【1†source】.【2†source】", "annotations": annotations}}
    assert answer_of([{"role": "assistant", "content": [part]}]) == (
        "In May [1].【2†source】\n\n1. [Contract](https://a.example)"
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("tool_server_error", NoEndError),
        ("tool_user_error", NoEndError),
        ("invalid_tool_input", NoEndError),
        ("server_error", NoEndError),
        ("invalid_prompt", RefusedError),
        ("content_filter", RefusedError),
    ],
)
def test_after_a_failure_of_a_tool_it_is_not_known_what_was_done(code: str, kind: type[Exception]) -> None:
    """https://github.com/microsoft/agent-framework/issues/1643 and https://github.com/microsoft/agent-framework/issues/774"""
    error = {"code": code, "message": "Error: list_tools_server_error; Server error while listing tools"}
    problem = read_run({"id": "run_1", "status": "failed", "last_error": error}).problem
    assert type(problem) is kind
    assert str(problem).startswith(f"The run failed ({code}: Error: list_tools_server_error;")
