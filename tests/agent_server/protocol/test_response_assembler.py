from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_server.protocol.handler_events import HandlerEventError
from agent_server.protocol.response_assembler import ResponseAssembler
from tests.agent_server.protocol.accumulated import accumulated, assembled, assembler
from tests.agent_server.protocol.loose_events import ENDS, LOOSE_EVENTS, URL, completed

Json = dict[str, Any]


def delta(text: str, item_id: str | None = "msg_a") -> Json:
    return {"type": "response.output_text.delta", "item_id": item_id, "delta": text}


def message(text: str, item_id: str | None = "msg_a", **more: Any) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": more.pop("annotations", [])}]
    item = {"type": "message", "role": "assistant", "content": content, **more}
    return item if item_id is None else {**item, "id": item_id}


def done(item: Json) -> Json:
    return {"type": "response.output_item.done", "item": item}


def call(call_id: str = "call_1", **more: Any) -> Json:
    return {"type": "function_call", "id": "fc_1", "call_id": call_id, "name": "f", "arguments": '{"a": 1}', **more}


def types(events: list[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def texts(response: Json) -> list[str]:
    return [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]


def streamed(events: list[Json]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


WHOLE = [
    "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
    "output_text.done", "content_part.done", "output_item.done", "completed",
]  # fmt: skip


@pytest.mark.parametrize(
    "loose",
    [
        [delta("Hel"), delta("lo")],
        [delta("Hel", None), delta("lo", None)],
        [delta("Hel"), delta("lo"), done(message("Hello"))],
        [delta("Hel"), delta("lo"), done(message("Hello", "another id"))],
        [delta("Hel"), delta("lo"), done(message("Hello", None))],
        [delta("Hel"), done(message("Hello"))],
        [delta("Hel"), delta("lo"), done(message("Hello")), done(message("Hello"))],
        [delta("Hel"), delta("lo"), completed(output=[message("Hello")])],
        [delta("Hel"), delta("lo"), done(message("Hello")), completed(output=[message("Hello", "yet another")])],
        [delta("Hel"), completed(output=[message("Hello")])],
    ],
)
def test_any_way_to_yield_a_text_gives_the_same_whole_sequence(loose: list[Json]) -> None:
    events = assembled(*loose)
    assert types(events) == WHOLE
    assert streamed(events) == "Hello"
    assert texts(accumulated(events)) == ["Hello"]


def test_the_events_of_openai_itself_pass_with_numbers_of_their_own() -> None:
    own = assembled(delta("Hel"), delta("lo"), done(call()), done({"type": "reasoning", "id": "r", "summary": []}))
    again = assembled(*own)
    assert types(again) == types(own)
    assert accumulated(again) == accumulated(own)


def test_events_that_name_an_item_by_its_index_alone_find_it() -> None:
    item = message("", "msg_a", content=[])
    events = assembled(
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.output_text.delta", "output_index": 0, "item_id": "other", "delta": "Hello"},
        {"type": "response.output_item.done", "output_index": 0, "item": message("Hello", "third")},
    )
    assert texts(accumulated(events)) == ["Hello"]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            call(),
            [
                "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
                "output_item.done",
            ],
        ),
        (
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "thinking"}]},
            [
                "output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta",
                "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
            ],
        ),
        (
            {"type": "function_call_output", "call_id": "call_1", "output": "42"},
            ["output_item.added", "output_item.done"],
        ),
        (
            {"type": "mcp_call", "id": "m", "name": "ask", "arguments": "{}", "status": "failed"},
            [
                "output_item.added", "mcp_call.in_progress", "mcp_call_arguments.delta", "mcp_call_arguments.done",
                "mcp_call.failed", "output_item.done",
            ],
        ),
        (
            {"type": "mcp_approval_request", "id": "a", "name": "delete", "arguments": {"id": 1}},
            ["output_item.added", "output_item.done"],
        ),
    ],
)  # fmt: skip
def test_a_whole_item_is_streamed_as_openai_streams_it(item: Json, expected: list[str]) -> None:
    events = assembled(done(item))
    assert types(events)[2:-1] == expected
    assert [each["type"] for each in accumulated(events)["output"]] == [item["type"]]


def test_arguments_come_as_they_are_streamed_and_once() -> None:
    argument = {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": '{"a"'}
    added = {"type": "response.output_item.added", "item": {**call(), "arguments": ""}}
    events = assembled(added, argument, done(call()))
    pieces = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert pieces == ['{"a"', ": 1}"]
    accumulated(events)


def test_a_call_whose_id_changes_while_it_is_streamed_is_still_that_call() -> None:
    argument = {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": '{"a"'}
    added = {"type": "response.output_item.added", "item": {**call(), "arguments": ""}}
    (item,) = accumulated(assembled(added, argument, done(call(id="fc_2"))))["output"]
    assert (item["id"], item["arguments"]) == ("fc_1", '{"a": 1}')


def test_one_call_is_in_the_output_once() -> None:
    """openai's clients refuse a second one of the same id."""
    events = assembled(done(call()), done(call(id="fc_2")), completed(output=[call(id=None)]))
    assert len(accumulated(events)["output"]) == 1


def test_items_of_one_id_get_ids_of_their_own() -> None:
    # MLflow's helpers give all items of one answer the id of the model's answer.
    reasoning = {"type": "reasoning", "id": "x", "summary": [{"type": "summary_text", "text": "hm"}]}
    events = assembled(done(reasoning), delta("Hi", "x"), done(message("Hi", "x")), done({**call(), "id": "x"}))
    output = accumulated(events)["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call"]
    assert len({item["id"] for item in output}) == 3


def test_an_item_id_that_is_used_again_begins_another_item() -> None:
    events = assembled(delta("One"), done(message("One")), delta("Two"), done(message("Two")))
    assert texts(accumulated(events)) == ["One", "Two"]


def test_items_may_be_written_side_by_side() -> None:
    events = assembled(delta("One ", "a"), delta("Two ", "b"), delta("one", "a"), delta("two", "b"))
    assert texts(accumulated(events)) == ["One one", "Two two"]


def test_the_whole_text_of_an_item_wins_over_what_was_streamed() -> None:
    events = assembled(delta("Hello \n"), done(message("Hello")))
    assert texts(accumulated(events)) == ["Hello"]
    assert next(event["text"] for event in events if event["type"] == "response.output_text.done") == "Hello"


def test_annotations_are_told_once_whether_streamed_or_in_the_item() -> None:
    loose = {
        "type": "response.output_text.annotation.added",
        "item_id": "msg_a",
        "annotation_index": 0,
        "annotation": URL,
    }
    events = assembled(
        delta("Hello"), loose, done(message("Hello", annotations=[URL, {**URL, "url": "https://b.example"}]))
    )
    added = [event for event in events if event["type"] == "response.output_text.annotation.added"]
    assert [(each["annotation_index"], each["annotation"]["url"]) for each in added] == [
        (0, "https://example.com"),
        (1, "https://b.example"),
    ]
    assert len(accumulated(events)["output"][0]["content"][0]["annotations"]) == 2


def test_an_annotation_without_its_place_gets_one() -> None:
    bare = {"type": "url_citation", "url": "https://example.com"}
    odd = {**bare, "start_index": None, "end_index": "2"}
    part = accumulated(assembled(done(message("Hi", annotations=[bare, odd, "nonsense"]))))["output"][0]["content"][0]
    assert part["annotations"] == [{**bare, "title": "https://example.com", "start_index": 0, "end_index": 0}]


def test_a_refusal_follows_the_text_before_it() -> None:
    refusal = {"type": "response.refusal.delta", "item_id": "msg_a", "delta": "I cannot."}
    content = accumulated(assembled(delta("Well. "), refusal))["output"][0]["content"]
    assert [part["type"] for part in content] == ["output_text", "refusal"]


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 3, "completion_tokens": 2},
        {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        {"input_tokens": 3, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 0}},
    ],
)
def test_usage_of_either_api_becomes_that_of_responses(usage: Json) -> None:
    response = accumulated(assembled(delta("Hi"), completed(usage=usage)))
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (3, 2)
    assert response["usage"]["total_tokens"] == 5


def test_custom_outputs_of_all_events_are_in_the_response() -> None:
    events = assembled({**delta("Hi"), "custom_outputs": {"a": 1}}, completed(custom_outputs={"b": 2}))
    assert accumulated(events)["custom_outputs"] == {"a": 1, "b": 2}


def test_the_response_repeats_what_was_asked_for() -> None:
    body = {"input": "Hi", "model": "m", "metadata": {"a": "b"}, "temperature": 0.5, "previous_response_id": "resp_0"}
    response = accumulated(assembled(delta("Hi"), body=body))
    assert {name: response[name] for name in body if name != "input"} == {k: v for k, v in body.items() if k != "input"}
    assert (response["id"], response["object"], response["created_at"]) == ("resp_1", "response", 1_700_000_000)


@pytest.mark.parametrize(
    ("end", "status", "last"),
    [
        ({"type": "error", "message": "No.", "code": "invalid_prompt"}, "failed", ["error", "failed"]),
        (
            {"type": "response.failed", "response": {"error": {"code": "invalid_prompt", "message": "No."}}},
            "failed",
            ["error", "failed"],
        ),
        ({"type": "response.incomplete", "response": {}}, "incomplete", ["output_item.done", "incomplete"]),
        (completed(status="incomplete"), "incomplete", ["output_item.done", "incomplete"]),
    ],
)
def test_a_handler_may_end_its_answer_otherwise(end: Json, status: str, last: list[str]) -> None:
    events = assembled(delta("Hi"), end, delta(" never said"))
    response = accumulated(events)
    assert response["status"] == status
    assert types(events)[-2:] == last
    assert response["output"][0]["status"] == "incomplete"
    assert texts(response) == ["Hi"]
    if status == "failed":
        assert response["error"] == {"code": "invalid_prompt", "message": "No."}


def test_no_event_has_a_field_that_makes_clients_raise() -> None:
    """openai-python takes any event with an `error` at its top for a failure of the request."""
    events = assembled(delta("Hi"), {"type": "error", "message": "No."})
    assert not [event for event in events if event.get("error")]


def test_a_cancelled_response_says_so() -> None:
    response = assembler()
    events = [*response.begin(), *response.add(delta("Hi")), *response.cancel()]
    assert accumulated(events)["status"] == "cancelled"
    assert response.add(delta("more")) == response.finish() == response.cancel() == response.fail("No.") == []


def test_a_queued_response_starts_once() -> None:
    response = assembler()
    events = [*response.begin(queued=True), *response.start(), *response.start(), *response.finish()]
    assert types(events) == ["created", "queued", "in_progress", "completed"]
    assert [event["response"]["status"] for event in events] == ["queued", "queued", "in_progress", "completed"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"type": 1},
        {"type": "my.progress"},
        {"type": "response.output_text.delta", "item_id": "a"},
        {"type": "response.output_text.delta", "item_id": "a", "delta": 1},
        {"type": "response.output_item.done"},
        done({"id": "x"}),
        done({"type": "message", "role": "user", "content": "Hi"}),
        done({"type": "function_call", "name": "f", "arguments": "{}"}),
        {"type": "response.content_part.added", "part": {"type": "video"}},
        {"type": "response.output_text.annotation.added", "annotation": "x"},
    ],
)
def test_what_is_no_event_is_refused_and_changes_nothing(wrong: Json) -> None:
    response = assembler()
    events = [*response.begin(), *response.add(delta("Hi"))]
    with pytest.raises(HandlerEventError):
        response.add(wrong)
    events += response.add(delta("!"))
    assert texts(accumulated([*events, *response.finish()])) == ["Hi!"]


def test_an_interrupted_item_closes_as_incomplete_and_another_follows() -> None:
    response = assembler()
    events = [*response.begin(), *response.add(delta("Half a")), *response.interrupt()]
    again = ResponseAssembler.resumed(json.loads(json.dumps(events)))
    events += again.add(delta("The rest."))
    events += again.finish()
    items = accumulated(events)["output"]
    assert [(item["status"], item["content"][0]["text"]) for item in items] == [
        ("incomplete", "Half a"),
        ("completed", "The rest."),
    ]
    assert len({item["id"] for item in items}) == 2


@given(st.lists(LOOSE_EVENTS, max_size=12), ENDS, st.integers(0, 12))
@settings(max_examples=200)
def test_any_loose_sequence_gives_a_strict_one_and_can_be_resumed_anywhere(
    loose: list[Json], end: Json | None, cut: int
) -> None:
    whole = assembler()
    events = whole.begin()
    for number, event in enumerate([*loose, *([end] if end else [])]):
        if number == cut:
            before = whole.response
            whole = ResponseAssembler.resumed(json.loads(json.dumps(events)))
            assert whole.response == before
            events += whole.interrupt()
        events += whole.add(event)
    events += whole.finish()
    assert accumulated(events) == whole.response
    assert all(item.get("status") != "in_progress" for item in whole.response["output"])
