from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_server.protocol.api_error import ApiError
from agent_server.protocol.request_parameters import refuse_unless_default
from agent_server.protocol.responses_request import parse_responses_request

USER = {"role": "user", "content": "Hi"}
MESSAGE = {"type": "message", **USER}


def test_a_string_is_one_message_of_the_user() -> None:
    assert parse_responses_request({"input": "Hi"}).input == [MESSAGE]


def test_messages_without_a_type_get_theirs() -> None:
    assert parse_responses_request({"input": [USER]}).input == [MESSAGE]


def test_the_handler_is_given_everything_but_stream_and_null() -> None:
    body = {
        "input": "Hi",
        "stream": True,
        "user": None,
        "model": "m",
        "custom_inputs": {"a": 1},
        "metadata": {"k": "v"},
    }
    request = parse_responses_request(body)
    assert request.body == {"input": [MESSAGE], "model": "m", "custom_inputs": {"a": 1}, "metadata": {"k": "v"}}
    assert request.stream


@pytest.mark.parametrize(
    ("more", "stored"),
    [
        ({}, False),
        ({"store": False}, False),
        ({"store": True}, True),
        ({"background": True}, True),
        ({"previous_response_id": "resp_1"}, True),
        ({"conversation": "c"}, True),
        ({"conversation": {"id": "c"}}, True),
        ({"context": {"conversation_id": "c", "user_id": "u"}}, True),
        ({"context": {"user_id": "u"}}, False),
    ],
)
def test_what_needs_memory_asks_for_storage(more: dict[str, Any], stored: bool) -> None:
    request = parse_responses_request({"input": "Hi", **more})
    assert request.asks_for_storage is stored
    assert request.conversation_id in ("", "c")


def test_decisions_are_those_that_end_the_input() -> None:
    def decision(number: int) -> dict[str, Any]:
        return {"type": "mcp_approval_response", "approval_request_id": f"a{number}", "approve": number > 1}

    request = parse_responses_request({"input": [decision(1), USER, decision(2), decision(3)]})
    assert [(each.request_id, each.approve) for each in request.approvals] == [("a2", True), ("a3", True)]


FILE = {"type": "input_file", "file_id": "file_1"}


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}, FILE]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Hi"}, {"type": "refusal", "refusal": "No"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "1"}]},
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "mcp_call", "id": "m", "name": "f", "arguments": "{}", "server_label": "s"},
        {"type": "mcp_approval_request", "id": "a", "name": "f", "arguments": "{}", "server_label": "s"},
        {"type": "web_search_call", "id": "w", "status": "completed"},
    ],
)
def test_every_item_that_openai_knows_is_passed_on(item: dict[str, Any]) -> None:
    assert parse_responses_request({"input": [item]}).input == [{"type": "message", **item}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([1], ""),
        ("Hi", ""),
        (None, ""),
        ({}, "input"),
        ({"messages": [USER]}, "input"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": {"role": "user"}}, "input"),
        ({"input": ["Hi"]}, "input[0]"),
        ({"input": [USER, {"role": "tool", "content": "1"}]}, "input[1].role"),
        ({"input": [{"role": "wizard", "content": "1"}]}, "input[0].role"),
        ({"input": [{"role": ["user"], "content": "1"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": None}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "1"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": ["1"]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "telepathy"}]}, "input[0].type"),
        ({"input": [{"type": {}}]}, "input[0].type"),
        ({"input": [{"content": "Hi"}]}, "input[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
        ({"input": [{"id": "x"}]}, "input[0]"),
        ({"input": [{"type": "function_call_output", "output": "1"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": 1}]}, "input[0].output"),
        (
            {"input": [{"type": "mcp_approval_response", "approval_request_id": "a", "approve": 1}]},
            "input[0].approve",
        ),
        ({"input": "Hi", "colour": "red"}, "colour"),
        ({"input": "Hi", "stream": "yes"}, "stream"),
        ({"input": "Hi", "store": 1}, "store"),
        ({"input": "Hi", "background": True, "store": False}, "store"),
        ({"input": "Hi", "temperature": "hot"}, "temperature"),
        ({"input": "Hi", "temperature": True}, "temperature"),
        ({"input": "Hi", "metadata": {"k": 1}}, "metadata"),
        ({"input": "Hi", "metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"input": "Hi", "tools": ["f"]}, "tools"),
        ({"input": "Hi", "tool_choice": ""}, "tool_choice"),
        ({"input": "Hi", "text": {"format": {"type": "xml"}}}, "text.format"),
        ({"input": "Hi", "text": {"format": "json"}}, "text.format"),
        ({"input": "Hi", "text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"input": "Hi", "conversation": {"name": "x"}}, "conversation"),
        ({"input": "Hi", "conversation": "c", "previous_response_id": "r"}, "conversation"),
        ({"input": "Hi", "conversation": "c", "context": {"conversation_id": "d"}}, "context.conversation_id"),
        ({"input": "Hi", "context": {"tenant": "x"}}, "context"),
        ({"input": "Hi", "previous_response_id": ""}, "previous_response_id"),
        ({"input": "Hi", "previous_response_id": "r" * 201}, "previous_response_id"),
        ({"input": "Hi", "custom_inputs": []}, "custom_inputs"),
        ({"input": "Hi", "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body: Any, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_responses_request(body)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert refused.value.message.endswith(".")


@pytest.mark.parametrize(
    "defaults",
    [
        {},
        {"temperature": 1.0, "top_p": 1, "tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"text": {"format": {"type": "text"}}, "truncation": "disabled", "include": [], "user": "u", "metadata": {}},
    ],
)
def test_parameters_that_ask_for_nothing_are_not_refused(defaults: dict[str, Any]) -> None:
    refuse_unless_default(parse_responses_request({"input": "Hi", **defaults}).body)


@pytest.mark.parametrize(
    "asked",
    [
        {"tools": [{"type": "function", "name": "f", "parameters": {}}]},
        {"tool_choice": "required"},
        {"text": {"format": {"type": "json_object"}}},
        {"temperature": 0},
        {"max_output_tokens": 5},
        {"truncation": "auto"},
    ],
)
def test_an_agent_refuses_what_only_a_model_honours(asked: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        refuse_unless_default(parse_responses_request({"input": "Hi", **asked}).body)
    assert refused.value.param == next(iter(asked))
    assert refused.value.code == "unsupported_parameter"


_KEYS = st.sampled_from(["type", "role", "content", "id", "text"])
_PARAMETERS = st.sampled_from(["conversation", "text", "context", "stream_options", "metadata", "tools"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=8,
)


@given(_JSON, st.dictionaries(_PARAMETERS, _JSON))
def test_any_json_is_parsed_or_refused(input: Any, more: dict[str, Any]) -> None:
    with suppress(ApiError):
        parse_responses_request({"input": input, **more})
