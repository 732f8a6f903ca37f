from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.models.answer_reader import AnswerReader
from app.models.answer_stream import AnswerStream
from app.models.chat_completions import ChatCompletionReader, request_body
from app.models.model import Completed, Message, ModelRequest, Source, TextDelta, ToolCall, ToolDefinition, Usage
from app.models.model_errors import (
    ContentFilteredError,
    ConversationTooLongError,
    ModelError,
    RateLimitedError,
    StreamInterruptedError,
)
from app.models.responses import ResponsesReader
from tests.fakes.serving_endpoint import DONE, chat_chunk, chat_stream, event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    *("choices", "delta", "message", "content", "tool_calls", "function", "arguments", "index", "id", "error", "role"),
    *("type", "text", "finish_reason", "usage", "item", "response", "output", "annotations", "url_citation", "status"),
]
PAYLOADS = st.recursive(
    JSON
    | st.sampled_from(["response.output_item.done", "response.completed", "message", "text", "error", "assistant"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=30,
)


def said(*chunks: bytes, reader: AnswerReader | None = None) -> tuple[str, Completed, list[Source]]:
    stream = AnswerStream(reader or ChatCompletionReader())
    events = [event for chunk in chunks for event in stream.feed(chunk)] + stream.flush()
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    return text, stream.end(), [event for event in events if isinstance(event, Source)]


def test_streamed_text_and_usage_arrive() -> None:
    text, completed, _ = said(*chat_stream("Hel", "lo").steps)  # type: ignore[arg-type]
    assert text == "Hello"
    assert completed == Completed(usage=Usage(input_tokens=7, output_tokens=2))


def test_deltas_that_arrive_together_are_one_event() -> None:
    stream = AnswerStream(ChatCompletionReader())
    together = chat_chunk({"content": "Hel"}) + chat_chunk({"content": "lo"}) + chat_chunk({"content": " the"})[:-9]
    assert stream.feed(together) == [TextDelta("Hello")]


def test_reasoning_parts_are_never_shown() -> None:
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hidden"}]}
    text, _, _ = said(
        chat_chunk({"content": [reasoning]}),
        chat_chunk({"content": [{"type": "text", "text": "The "}]}),
        chat_chunk({"content": [reasoning, {"type": "text", "text": "answer"}]}, "stop"),
        DONE,
    )
    assert text == "The answer"


def test_parallel_tool_calls_are_put_together_by_index_and_their_arguments_stay_verbatim() -> None:
    def calls(*pieces: dict[str, Any]) -> bytes:
        return chat_chunk({"content": None, "tool_calls": list(pieces)})

    _, completed, _ = said(
        calls({"index": 0, "id": "a", "type": "function", "function": {"name": "jobs", "arguments": ""}}),
        calls({"index": 1, "id": "b", "function": {"name": "time", "arguments": '{"zone"'}}),
        calls({"index": 0, "function": {"arguments": '{ "id":1.0'}}),
        calls({"index": 1, "function": {"arguments": ': "UTC"}'}}, {"index": 0, "function": {"arguments": " }"}}),
        chat_chunk({}, "tool_calls"),
        DONE,
        reader=ChatCompletionReader(frozenset({"jobs", "time"})),
    )
    assert completed.tool_calls == (ToolCall("a", "jobs", '{ "id":1.0 }'), ToolCall("b", "time", '{"zone": "UTC"}'))


def test_tool_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    def call(**piece: Any) -> bytes:
        return chat_chunk({"tool_calls": [piece]})

    _, completed, _ = said(
        call(id="a", function={"name": "one", "arguments": "{"}),
        call(function={"arguments": "}"}),
        call(id="b", function={"name": "two", "arguments": {"x": 1}}),
        chat_chunk({}, "tool_calls"),
        reader=ChatCompletionReader(frozenset({"one", "two"})),
    )
    assert completed.tool_calls == (ToolCall("a", "one", "{}"), ToolCall("b", "two", '{"x": 1}'))


def test_an_answer_that_hit_the_token_limit_is_marked_truncated() -> None:
    assert said(*chat_stream("Once", finish_reason="length").steps)[1].truncated  # type: ignore[arg-type]


def test_a_filtered_answer_names_what_was_filtered_after_what_was_shown() -> None:
    results = {"hate": {"filtered": True, "severity": "high"}, "violence": {"filtered": False}}
    stream = AnswerStream(ChatCompletionReader())
    shown = stream.feed(chat_chunk({"content": "I th"}))
    stream.feed(chat_chunk({}, "content_filter", content_filter_results=results) + DONE)
    assert shown == [TextDelta("I th")]
    with pytest.raises(ContentFilteredError) as caught:
        stream.end()
    assert (caught.value.side, caught.value.categories) == ("output", ("hate",))


def test_a_cut_stream_keeps_what_arrived() -> None:
    stream = AnswerStream(ChatCompletionReader())
    assert stream.feed(chat_chunk({"content": "Half an ans"})) == [TextDelta("Half an ans")]
    stream.flush()
    with pytest.raises(StreamInterruptedError):
        stream.end()


def test_a_finish_reason_without_done_is_a_whole_answer() -> None:
    assert said(chat_chunk({"content": "All"}), chat_chunk({}, "stop"))[0] == "All"


def test_nothing_after_done_is_read() -> None:
    assert said(chat_chunk({"content": "All"}), DONE, chat_chunk({"content": " and more"}))[0] == "All"


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ("the model fell over", StreamInterruptedError),
        ({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}, RateLimitedError),
        ({"code": "rate_limit_exceeded", "message": "slow down"}, RateLimitedError),
        ({"message": "This model's maximum context length is 8192 tokens"}, ConversationTooLongError),
        ({"code": "content_filter", "message": "no"}, ContentFilteredError),
    ],
)
def test_an_error_inside_the_stream_comes_after_what_arrived(error: Any, failure: type[ModelError]) -> None:
    stream = AnswerStream(ChatCompletionReader())
    shown = stream.feed(chat_chunk({"content": "Half"}) + event({"error": error}))
    assert shown == [TextDelta("Half")]
    with pytest.raises(failure):
        stream.end()


def test_citations_become_sources_once_each() -> None:
    nested = {"type": "url_citation", "url_citation": {"url": "https://a.example/x", "title": "A", "start_index": 0}}
    part = {"type": "text", "text": "Yes.", "citation": {"document_title": "Handbook", "cited_text": "yes"}}
    script = {"type": "url_citation", "url_citation": {"url": "javascript:alert(1)"}}
    _, _, sources = said(
        chat_chunk({"content": [part], "annotations": [nested]}),
        chat_chunk({"content": [part], "annotations": [nested, script]}, "stop"),
    )
    assert sources == [Source("Handbook", None, "yes"), Source("A", "https://a.example/x")]


def test_a_chat_agent_sends_messages_without_choices_and_runs_its_tools_itself() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "sql", "arguments": "{}"}}
    text, completed, _ = said(
        event({"id": "r", "delta": {"role": "assistant", "content": "Look", "id": "m1"}}),
        event({"id": "r", "delta": {"role": "assistant", "content": "ing.", "id": "m1"}}),
        event({"id": "r", "delta": {"role": "assistant", "content": "", "id": "m2", "tool_calls": [call]}}),
        event({"id": "r", "delta": {"role": "tool", "content": "secret rows", "id": "m3", "tool_call_id": "1"}}),
        event({"id": "r", "delta": {"role": "assistant", "content": "Done.", "id": "m4"}}),
    )
    assert text == "Looking.\n\nDone."
    assert completed.tool_calls == ()


def test_a_whole_answer_that_was_not_streamed_reads_the_same() -> None:
    reader = ChatCompletionReader(frozenset({"time"}))
    call = {"id": "a", "type": "function", "function": {"name": "time", "arguments": "{}"}}
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}], "tool_calls": [call]}
    reader.read_whole(
        {
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1},
        }
    )
    assert reader.buffer.drain() == [TextDelta("Hi")]
    assert reader.end(done_received=True) == Completed((ToolCall("a", "time", "{}"),), usage=Usage(3, 1))


@pytest.mark.parametrize("reader", [ChatCompletionReader, ResponsesReader])
@given(
    parts=st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([b"data: ", b"\n\n", DONE, b"data: " + b"[" * 9000 + b"\n\n", b"data: NaN\n\n"]),
            PAYLOADS.map(lambda payload: b"data: " + json.dumps(payload).encode() + b"\n\n"),
        ),
        max_size=8,
    )
)
def test_whatever_an_endpoint_sends_nothing_but_a_model_error_is_raised(
    reader: type[AnswerReader], parts: list[bytes]
) -> None:
    with suppress(ModelError):
        said(*parts, reader=reader())


@pytest.mark.parametrize("reader", [ChatCompletionReader, ResponsesReader])
@given(body=st.dictionaries(st.sampled_from(KEYS), PAYLOADS))
def test_whatever_a_whole_answer_holds_nothing_but_a_model_error_is_raised(
    reader: type[AnswerReader], body: dict[str, Any]
) -> None:
    whole = reader()
    with suppress(ModelError):
        whole.read_whole(body)
        whole.end(done_received=True)


TOOL = ToolDefinition("time", "Tells the time", {"type": "object", "properties": {}})
TOOL_TRAFFIC = ModelRequest(
    (
        Message("system", "Be brief."),
        Message("user", "What time is it?"),
        Message("assistant", "", tool_calls=(ToolCall("a", "time", ""),)),
        Message("tool", "12:00", tool_call_id="a"),
    ),
    tools=(TOOL,),
)


def test_the_request_carries_tools_and_their_traffic() -> None:
    body = request_body("gpt", TOOL_TRAFFIC, max_tokens=100, temperature=0.5)
    assert body["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "time", "arguments": "{}"}}],
        },
        {"role": "tool", "content": "12:00", "tool_call_id": "a"},
    ]
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "time", "description": "Tells the time", "parameters": dict(TOOL.parameters)},
        }
    ]
    assert (body["max_tokens"], body["temperature"]) == (100, 0.5)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_a_plain_question_sends_no_optional_parameter() -> None:
    body = request_body("m", ModelRequest((Message("user", "Hi"),)))
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
