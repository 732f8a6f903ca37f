"""What a response of an agent means, whatever is in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.foundry.agents.agent_response import read_response
from app.foundry.agents.foundry_errors import NoEndError, RefusedError

NAMES = ["type", "name", "role", "content", "text", "refusal", "annotations", "url", "code", "message", "reason", "id"]
VALUES = ["message", "function_call", "mcp_call", "oauth_consent_request", "assistant", "https://a.example", "failed"]
JSON = st.recursive(
    st.sampled_from([None, True, 7, *VALUES]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=10,
)


def message(text: str, **more: object) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, **more}
    return {"type": "message", "role": "assistant", "content": [part]}


def response(status: str, *output: object, **more: object) -> dict[str, Any]:
    return {"id": "resp_1", "status": status, "output": list(output), **more}


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (response("completed"), NoEndError, "without an answer"),
        (response("expired"), NoEndError, "longer than Foundry allows"),
        (response("cancelled", message("half")), NoEndError, "was cancelled"),
        (
            response("incomplete", message("half"), incomplete_details={"reason": "max_output_tokens"}),
            NoEndError,
            "max_output_tokens",
        ),
        (response("incomplete", incomplete_details={"reason": "content_filter"}), RefusedError, "content filter"),
        (response("incomplete", incomplete_details=None), NoEndError, "no reason given"),
        (response("failed", error={"code": "server_error", "message": "Sorry"}), NoEndError, "server_error: Sorry"),
        (response("failed", error={"code": "rate_limit_exceeded", "message": ""}), NoEndError, "rate_limit"),
        (response("failed", error={"code": "invalid_prompt", "message": "No"}), RefusedError, "invalid_prompt: No"),
        (response("failed", error=None), NoEndError, "no reason given"),
        (
            response("failed", error={"code": "x", "message": "Invalid tool value(s): azure_function. Use Standard"}),
            RefusedError,
            "standard set-up",
        ),
        (response("requires_action"), RefusedError, "cannot give"),
        (response("completed", {"type": "mcp_approval_request", "name": "ask"}), RefusedError, "approval to call ask"),
        (
            response("incomplete", {"type": "oauth_consent_request", "consent_link": "https://consent.example/x"}),
            RefusedError,
            "Open https://consent.example/x",
        ),
        (
            response("completed", {"type": "oauth_consent_request", "consent_link": "javascript:alert(1)"}),
            RefusedError,
            "in the portal",
        ),
        (
            response("completed", {"type": "message", "content": [{"type": "refusal", "refusal": "I cannot"}]}),
            RefusedError,
            "The model refused: I cannot",
        ),
    ],
)
def test_every_end_without_an_answer_is_said(body: dict[str, Any], kind: type[Exception], said: str) -> None:
    found = read_response(body)
    assert found.has_ended
    assert type(found.problem) is kind
    assert said in str(found.problem)


@pytest.mark.parametrize("status", ["queued", "in_progress", "a status of tomorrow"])
def test_a_response_that_runs_is_no_end(status: str) -> None:
    found = read_response(response(status))
    assert not found.has_ended
    assert found.problem is None


def test_the_text_keeps_its_sources_as_numbered_links() -> None:
    cited = [
        {"type": "url_citation", "url": "https://a.example/1", "title": "Sales"},
        {"type": "url_citation", "url": "https://a.example/1", "title": "Sales"},
        {"type": "url_citation", "url": "https://a.example/there"},
        {"type": "url_citation", "url": "javascript:alert(1)"},
        "odd",
    ]
    found = read_response(response("completed", message("It is 7, see https://a.example/there", annotations=cited)))
    assert found.text == "It is 7, see https://a.example/there\n\n1. [Sales](https://a.example/1)"


def test_a_source_is_an_address_that_is_not_shown_yet() -> None:
    addresses = ("https://a.example/1", "https://a.example/12", "https://a.example/x) [y](z", "http://a.example/2", "")
    cited = [{"type": "url_citation", "url": url, "title": "Sales [2025]"} for url in addresses]
    cited.append({"type": "file_citation", "file_id": "f", "filename": "x.pdf"})
    found = read_response(response("completed", message("It is 7: https://a.example/12.", annotations=cited)))
    assert found.text == "It is 7: https://a.example/12.\n\n1. [Sales (2025)](https://a.example/1)"


def test_calls_of_the_service_and_calls_for_us_are_told_apart() -> None:
    found = read_response(
        response(
            "completed",
            {"type": "azure_function_call", "name": "ask"},
            {"type": "mcp_call", "name": "ask_data"},
            {"type": "reasoning"},
            {"type": "function_call", "name": "ask_specialist", "call_id": "c1", "arguments": '{"query": "x"}'},
        )
    )
    assert found.tool_calls == ("ask", "ask_data")
    assert [(each.call_id, each.name) for each in found.function_calls] == [("c1", "ask_specialist")]
    assert found.problem is None


@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from(["id", "status", "output", "error", "incomplete_details"]), JSON),
    st.lists(st.builds(message, st.just("x"), annotations=JSON, refusal=JSON) | JSON, max_size=3),
    st.dictionaries(st.sampled_from(NAMES), JSON),
)
def test_nothing_that_a_body_holds_breaks_the_reading(
    body: dict[str, Any], output: list[Any], item: dict[str, Any]
) -> None:
    read_response(body)
    read_response({"output": [*output, item | {"type": "message"}, item]})


def test_a_function_that_the_service_has_called_is_no_call_for_us() -> None:
    def call(call_id: str) -> dict[str, Any]:
        return {"type": "function_call", "call_id": call_id, "name": f"tool_{call_id}", "arguments": "{}"}

    output = {"type": "function_call_output", "call_id": "a", "output": "42"}
    found = read_response(response("completed", call("a"), output, call("b")))
    assert found.tool_calls == ("tool_a",)
    assert [each.name for each in found.function_calls] == ["tool_b"]


def test_a_call_that_comes_again_without_its_arguments_is_one_call() -> None:
    """https://github.com/microsoft/agent-framework/issues/7485"""

    def call(call_id: str, arguments: str) -> dict[str, Any]:
        return {"type": "function_call", "call_id": call_id, "name": "ask_specialist", "arguments": arguments}

    found = read_response(response("completed", call("a", "{}"), call("a", ""), call("b", ""), call("b", "[]")))
    assert [(each.call_id, each.arguments) for each in found.function_calls] == [("a", "{}"), ("b", "[]")]


def test_what_was_said_on_the_way_to_the_answer_is_not_the_answer() -> None:
    """https://github.com/JetBrains/koog/issues/1961"""
    on_the_way = {**message("I ask Databricks."), "phase": "commentary"}
    called = {"type": "azure_function_call", "name": "ask"}
    answer = {**message("It is 7."), "phase": "final_answer"}
    assert read_response(response("completed", on_the_way, called, answer)).text == "It is 7."
    assert read_response(response("completed", on_the_way, called)).text == "I ask Databricks."
