from __future__ import annotations

from typing import Any

import pytest

from app.models.answer_stream import AnswerStream
from app.models.model import Completed, Message, ModelRequest, Source, TextDelta, ToolCall, ToolDefinition, Usage
from app.models.model_errors import ContentFilteredError, ModelError, RateLimitedError, StreamInterruptedError
from app.models.responses import ResponsesReader, request_body
from tests.fakes.serving_endpoint import DONE, agent_stream, event
from tests.models.test_chat_completions import TOOL_TRAFFIC
from tests.models.test_chat_completions import said as said_by_any


def said(*chunks: bytes, offered: tuple[str, ...] = ()) -> tuple[str, Completed, list[Source]]:
    return said_by_any(*chunks, reader=ResponsesReader(frozenset(offered)))


def delta(text: str, item_id: str = "m1") -> bytes:
    return event({"type": "response.output_text.delta", "item_id": item_id, "delta": text})


def done(item: dict[str, Any]) -> bytes:
    return event({"type": "response.output_item.done", "output_index": 0, "item": item})


def message(text: str, item_id: str = "m1", annotations: list[Any] | None = None) -> bytes:
    content = [{"type": "output_text", "text": text, "annotations": annotations or []}]
    return done({"type": "message", "role": "assistant", "id": item_id, "content": content})


def call(call_id: str, name: str, arguments: str = "{}") -> bytes:
    return done(
        {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "arguments": arguments}
    )


def completed(**response: Any) -> bytes:
    return event({"type": "response.completed", "response": {"status": "completed", **response}})


def test_an_agents_text_is_shown_once_though_it_is_sent_twice() -> None:
    assert said(*agent_stream("Hel", "lo").steps)[0] == "Hello"  # type: ignore[arg-type]


def test_text_that_was_not_streamed_is_taken_from_the_item() -> None:
    assert said(message("First.", "m1"), message("Second.", "m2"))[0] == "First.\n\nSecond."


def test_an_item_with_footnotes_for_its_annotations_is_not_shown_again() -> None:
    annotation = {"type": "url_citation", "url": "https://a.example", "title": "A"}
    text, _, sources = said(
        delta("Yes", "x1"),
        event({"type": "response.output_text.annotation.added", "annotation": annotation}),
        delta(" and no.", "x2"),
        message("Yes[^1] and no.\n\n[^1]: A", "other", [annotation]),
        DONE,
    )
    assert text == "Yes and no."
    assert sources == [Source("A", "https://a.example")]


def test_only_calls_of_offered_tools_are_returned() -> None:
    output = {"type": "function_call_output", "call_id": "2", "output": "rows"}
    _, end, _ = said(
        call("1", "time", '{"zone":  "UTC"}'),
        call("2", "time"),
        done(output),
        call("3", "their_sql"),
        completed(usage={"input_tokens": 5, "output_tokens": 6}),
        offered=("time",),
    )
    assert end == Completed((ToolCall("1", "time", '{"zone":  "UTC"}'),), usage=Usage(5, 6))


@pytest.mark.parametrize(
    ("sent", "trace_id"),
    [
        ({"trace_id": "tr-1"}, "tr-1"),
        ({"trace_id": "trace:/main.agents/0af7651916cd43dd8448eb211c80319c"}, None),
        ({"type": "response.completed", "response": {"metadata": {"trace_id": "tr-2"}}}, "tr-2"),
        ({"databricks_output": {"trace": {"info": {"trace_id": "tr-3"}, "data": {"spans": []}}}}, "tr-3"),
        ({"databricks_output": {"trace": {"info": {"request_id": "tr-4"}}, "databricks_request_id": "r"}}, "tr-4"),
        ({"type": "response.output_item.done", "item": {}, "custom_outputs": {"trace_id": "tr-5"}}, "tr-5"),
        ({"trace_id": "../../users"}, ""),
        ({"trace_id": ""}, ""),
        ({"trace_id": ["tr-1"], "databricks_output": "x", "metadata": 7}, ""),
        ({"trace_id": "tr-" + "1" * 500}, ""),
    ],
)
def test_the_id_of_the_trace_is_taken_from_wherever_the_endpoint_says_it(
    sent: dict[str, Any], trace_id: str | None
) -> None:
    text, end, _ = said(delta("Hi"), message("Hi"), event(sent), DONE)
    assert (text, end) == ("Hi", Completed(trace_id=sent["trace_id"] if trace_id is None else trace_id))


def test_an_agent_that_ends_with_its_message_and_no_done_has_answered() -> None:
    assert said(delta("Hi"), message("Hi"))[1] == Completed()


@pytest.mark.parametrize("last", [delta("Half an ans"), call("1", "their_sql")])
def test_a_stream_that_ends_in_the_middle_is_cut(last: bytes) -> None:
    with pytest.raises(StreamInterruptedError):
        said(message("First step.", "m0"), last)


def test_an_answer_that_hit_the_token_limit_is_marked_truncated() -> None:
    response = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert said(delta("Once"), event({"type": "response.incomplete", "response": response}))[1].truncated


def test_an_answer_that_was_filtered_is_a_failure() -> None:
    response = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    with pytest.raises(ContentFilteredError) as caught:
        said(delta("Once"), event({"type": "response.incomplete", "response": response}))
    assert caught.value.side == "output"


@pytest.mark.parametrize(
    ("payload", "failure"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow", "sequence_number": 3}, RateLimitedError),
        (
            {"type": "response.failed", "response": {"error": {"code": "server_error", "message": "oh"}}},
            StreamInterruptedError,
        ),
        ({"error": "the agent raised KeyError"}, StreamInterruptedError),
        ({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow"}, RateLimitedError),
    ],
)
def test_an_error_event_keeps_what_arrived(payload: dict[str, Any], failure: type[ModelError]) -> None:
    stream = AnswerStream(ResponsesReader())
    assert stream.feed(delta("Half") + event(payload)) == [TextDelta("Half")]
    with pytest.raises(failure):
        stream.end()


def test_a_whole_answer_that_was_not_streamed_reads_the_same() -> None:
    reader = ResponsesReader(frozenset({"time"}))
    content = [{"type": "output_text", "text": "Hi", "annotations": [{"type": "file_citation", "filename": "a.pdf"}]}]
    output = [
        {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hidden"}]},
        {"type": "message", "id": "m", "role": "assistant", "content": content},
        {"type": "function_call", "id": "f", "call_id": "c", "name": "time", "arguments": "{}"},
    ]
    reader.read_whole({"output": output, "usage": {"input_tokens": 1, "output_tokens": 2}})
    assert reader.buffer.drain() == [TextDelta("Hi"), Source("a.pdf")]
    assert reader.end(done_received=True) == Completed((ToolCall("c", "time", "{}"),), usage=Usage(1, 2))


def test_a_final_response_fills_in_what_no_event_said() -> None:
    item = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    assert said(completed(output=[item]))[0] == "Hi"
    assert said(delta("Hi"), completed(output=[item]))[0] == "Hi"


def test_the_request_carries_tools_and_their_traffic() -> None:
    body = request_body("agent", TOOL_TRAFFIC, max_tokens=100, temperature=0.5)
    assert body["input"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What time is it?"},
        {"type": "function_call", "call_id": "a", "name": "time", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "12:00"},
    ]
    assert body["tools"][0]["name"] == "time"
    assert (body["max_output_tokens"], body["temperature"], body["stream"]) == (100, 0.5, True)


def test_text_beside_a_tool_call_is_kept() -> None:
    asked = Message("assistant", "Let me look.", tool_calls=(ToolCall("a", "time", "{}"),))
    tool = ToolDefinition("time", "", {"type": "object"})
    body = request_body("agent", ModelRequest((asked,), (tool,)))
    assert body["input"][0] == {"role": "assistant", "content": "Let me look."}
    assert body["input"][1]["type"] == "function_call"
