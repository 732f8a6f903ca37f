"""What is read of messages on an input queue: all forms that are known of Foundry, and what others may write."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.foundry.requests.tool_message import (
    UNREADABLE_ARGUMENTS,
    QueuedMessage,
    UnanswerableMessageError,
    is_queue,
    parse_tool_message,
)
from app.foundry.requests.tool_request import ToolRequest

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OURS = "https://account.queue.core.windows.net/azure-function-ask-output"


def parsed(content: str | bytes | dict[str, Any]) -> ToolRequest:
    text = json.dumps(content) if isinstance(content, dict) else content
    data = text.encode() if isinstance(text, str) else text
    return parse_tool_message("ask", QueuedMessage(data, "id", 17.0)).request


def base64_of(value: object) -> bytes:
    return base64.b64encode(json.dumps(value).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"function_args": {"query": "How?"}, "CorrelationId": "c1"},
        {"CorrelationId": "c1", "function_args": '{"query": "How?"}'},
        {"CorrelationId": "c1", "function_args": json.dumps('{"query": "How?"}')},
        {"query": "How?", "CorrelationId": "c1"},
        {"query": "How?", "CorrelationId": "c1", "function_args": {}},
        {"query": "How?", "CorrelationId": "c1", "function_args": None},
        {"query": "How?", "CorrelationId": "c1", "function_args": ""},
        {"functionArgs": {"query": "How?"}, "correlationId": "c1"},
        {"FunctionArgs": {"query": "How?"}, "correlation_id": "c1"},
        {"query": "How?", "outputqueueuri": OURS, "CorrelationId": "c1"},
        {"query": "How?", "OutputQueueUri": 5, "CorrelationId": "c1"},
        {"function_args": {"query": "How?", "output_queue_uri": OURS}, "CorrelationID": "c1"},
    ],
    ids=str,
)
def test_each_form_of_a_request_is_read_plain_and_as_base64(body: dict[str, Any]) -> None:
    wanted = ToolRequest("ask", "c1", {"query": "How?"}, 17.0)
    text = json.dumps(body, indent=1)
    marked = base64.b64encode(f"\ufeff{text}".encode())
    for content in (text.encode(), f"\ufeff\n {text}".encode(), marked, base64_of(body), base64_of(body) + b"\n"):
        assert parsed(content) == wanted


@pytest.mark.parametrize(
    ("arguments", "conversation"),
    [
        ({"conversation": "thread_1"}, "thread_1"),
        ({"conversation": " "}, ""),
        ({"conversation": 7}, "7"),
        ({"conversation": {"id": 1}}, ""),
        ({"conversation": "x" * 2000}, "x" * 1000),
        ({"conversation": None}, ""),
    ],
    ids=str,
)
def test_the_key_of_order_is_read_where_it_is_one(arguments: dict[str, Any], conversation: str) -> None:
    assert parsed({"function_args": arguments, "CorrelationId": "c1"}).conversation == conversation


@pytest.mark.parametrize("arguments", ["How many?", "[1]", "{", 5, [], True, "[" * 100_000], ids=lambda it: str(it)[:9])
def test_arguments_that_cannot_be_read_are_refused_in_words(arguments: object) -> None:
    request = parsed({"function_args": arguments, "CorrelationId": "c1", "query": "How?"})
    assert (request.refusal, request.arguments, request.correlation_id) == (UNREADABLE_ARGUMENTS, {}, "c1")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no JSON"),
        (b"hello", "neither"),
        (b"b'eyJhIjogMX0='", "neither"),
        (b"{'CorrelationId': 'c1'}", "no JSON"),
        (b'{"CorrelationId": "c1"', "no JSON"),
        (b'{"a": ' * 20_000, "nested too deep"),
        (base64.b64encode(b"\xff\xfe"), "neither"),
        (b"\xff\xfe", "not UTF-8"),
        (base64_of(["CorrelationId"]), "no JSON object"),
        (base64_of("CorrelationId"), "no JSON object"),
        (b"{}", "no CorrelationId"),
        (b'{"CorrelationId": ""}', "no CorrelationId"),
        (b'{"CorrelationId": null, "query": "q"}', "no CorrelationId"),
        (b'{"CorrelationId": {"a": 1}}', "no string"),
        (b'{"CorrelationId": true}', "no string"),
        (b'{"CorrelationId": "' + b"x" * 9000 + b'"}', "too long"),
    ],
    ids=lambda it: str(it)[:24],
)
def test_a_message_that_nobody_can_be_answered_is_told_apart_and_why(content: bytes, reason: str) -> None:
    with pytest.raises(UnanswerableMessageError, match=reason):
        parsed(content)


def test_a_line_break_that_a_model_wrote_as_it_is_is_read() -> None:
    request = parsed({"function_args": '{"query": "Sales\nof May?\t"}', "CorrelationId": "c1"})
    assert (request.arguments, request.refusal) == ({"query": "Sales\nof May?\t"}, "")


def test_a_number_of_any_length_is_read() -> None:
    request = parsed(b'{"CorrelationId": "c1", "n": ' + b"9" * 5000 + b', "m": 12345678901234567890}')
    assert request.arguments["m"] == 12345678901234567890
    assert ToolRequest.from_json(request.to_json()) == request


def test_the_trace_of_the_message_is_its_own_or_else_the_hosts() -> None:
    body = {"function_args": {}, "CorrelationId": "c1", "traceparent": TRACE}
    assert parsed(body).traceparent == TRACE
    # One without end would leave the request no room.
    assert parsed({**body, "traceparent": TRACE * 900}).traceparent is None
    message = QueuedMessage(b'{"CorrelationId": 12}', "id", 1.0, "of the host")
    request = parse_tool_message("ask", message).request
    assert (request.traceparent, request.correlation_id) == ("of the host", "12")


@pytest.mark.parametrize(
    ("uri", "account", "same"),
    [
        (OURS, "https://account.queue.core.windows.net", True),
        (f"{OURS}/", "https://account.queue.core.windows.net/", True),
        (OURS, "", True),
        ("http://127.0.0.1:10001/devstoreaccount1/azure-function-ask-output", "", True),
        ("azure-function-ask-output", "", True),
        (OURS, "https://other.queue.core.windows.net", False),
        ("https://evil.example/azure-function-ask-output", "https://account.queue.core.windows.net", False),
        ("https://account.queue.core.windows.net/another", "", False),
        ("https://[", "", False),
        ("", "", False),
    ],
)
def test_another_output_queue_is_told_from_our_own(uri: str, account: str, same: bool) -> None:
    assert is_queue(uri, "azure-function-ask-output", account) is same


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


_NAMES = st.text() | st.sampled_from(["function_args", "conversation", "outputqueueuri"])


@given(st.dictionaries(_NAMES, _JSON), st.text(min_size=1))
def test_whatever_is_beside_a_correlation_id_it_is_kept_and_can_be_recorded(body: dict[str, Any], id: str) -> None:
    request = parsed({**body, "CorrelationId": id})
    assert request.correlation_id == id
    assert ToolRequest.from_json(request.to_json()) == request


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_content_makes_the_reader_fail(content: bytes) -> None:
    with suppress(UnanswerableMessageError):
        assert parsed(content).correlation_id
