"""Every task behind every route, with both functions and with one of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agent_server.handlers.chat import answer_chat, run_chat
from agent_server.handlers.direct import answer_direct, run_direct
from agent_server.handlers.native import answer_native, run_native
from agent_server.handlers.registry import HandlerRegistry
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.chat_request import parse_chat_request
from agent_server.protocol.responses_request import parse_responses_request
from agent_server.protocol.task import Task
from tests.agent_server.handlers.agents import CHAT_USAGE, PIECES, RecordingAgent
from tests.agent_server.protocol.accumulated import accumulated

Json = dict[str, Any]
every_agent = pytest.mark.parametrize(
    ("task", "only"), [(task, only) for task in Task for only in ("", "invoke", "stream")]
)
RESPONSES = parse_responses_request({"input": "Hi", "model": "m"})
CHAT = parse_chat_request(
    {"messages": [{"role": "user", "content": "Hi"}], "model": "m", "stream_options": {"include_usage": True}}
)


async def all_of(events: AsyncIterator[Json]) -> list[Json]:
    return [event async for event in events]


@every_agent
async def test_every_agent_answers_responses(task: Task, only: str) -> None:
    agent = RecordingAgent(task, only=only)
    events = await all_of(run_direct(agent.handler, task, RESPONSES))
    streamed = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert streamed == (["Hello"] if only == "invoke" else list(PIECES))
    for response in (accumulated(events), await answer_direct(agent.handler, task, RESPONSES)):
        assert [part["text"] for item in response["output"] for part in item["content"]] == ["Hello"]
        assert (response["status"], response["usage"]["total_tokens"]) == ("completed", 5)
        assert response["custom_outputs"] == {"a": 1}


@every_agent
async def test_every_agent_answers_chat_completions(task: Task, only: str) -> None:
    agent = RecordingAgent(task, only=only)
    chunks = await all_of(run_chat(agent.handler, task, CHAT))
    typed = [ChatCompletionChunk.model_validate(chunk) for chunk in chunks]
    assert "".join(choice.delta.content or "" for each in typed for choice in each.choices) == "Hello"
    assert [choice.finish_reason for each in typed for choice in each.choices if choice.finish_reason] == ["stop"]
    assert len({(each.id, each.created) for each in typed}) == 1
    assert typed[0].choices[0].delta.role == "assistant"
    assert [each.usage.total_tokens for each in typed if each.usage] == [5]
    completion = ChatCompletion.model_validate(await answer_chat(agent.handler, task, CHAT))
    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("Hello", "stop")
    assert completion.usage
    assert completion.usage.total_tokens == 5
    assert (completion.model, completion.model_extra) == ("m", {"custom_outputs": {"a": 1}})


@every_agent
async def test_every_agent_answers_in_its_own_format(task: Task, only: str) -> None:
    if task not in (Task.NONE, Task.CHAT_AGENT):
        return
    agent = RecordingAgent(task, only=only)
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}
    answer = await answer_native(agent.handler, task, body)
    events = await all_of(run_native(agent.handler, task, body))
    assert agent.asked[0] == {"messages": body["messages"]}
    if task is Task.CHAT_AGENT:
        assert "".join(event["delta"]["content"] for event in events) == "Hello"
        assert [message["content"] for message in answer["messages"]] == ["Hello"]
        assert (answer["usage"], answer["custom_outputs"]) == (CHAT_USAGE, {"a": 1})
        assert answer["messages"][0]["id"]
    else:
        assert answer["output"][0]["content"][0]["text"] == "Hello"
        assert events[-1]["type"] == "response.completed"


HISTORY = [
    {"role": "user", "content": "What is on?"},
    {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "rain"},
    {"type": "reasoning", "id": "r", "summary": []},
    {"role": "assistant", "content": [{"type": "output_text", "text": "Rain."}]},
    {"role": "user", "content": [{"type": "input_text", "text": "And "}, {"type": "input_text", "text": "now?"}]},
]
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is on?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "rain", "tool_call_id": "c1", "name": "look"},
    {"role": "assistant", "content": "Rain."},
    {"role": "user", "content": "And now?"},
]
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
CUSTOM = {"type": "custom", "custom": {"name": "sing", "input": "la"}}
CHAT_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


async def test_a_chat_agent_is_given_the_history_as_messages() -> None:
    request = parse_responses_request({"input": HISTORY, "instructions": "Be brief.", "custom_inputs": {"a": 1}})
    agent = RecordingAgent(Task.CHAT_AGENT)
    await answer_direct(agent.handler, agent.task, request)
    assert agent.asked == [{"messages": MESSAGES, "custom_inputs": {"a": 1}}]


async def test_a_chat_handler_is_given_parameters_by_its_own_names() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    body = {
        "input": HISTORY,
        "instructions": "Be brief.",
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "look"},
        "max_output_tokens": 9,
        "reasoning": {"effort": "low"},
        "text": {"format": schema, "verbosity": "low"},
        "temperature": 0.5,
    }
    agent = RecordingAgent(Task.CHAT)
    await answer_direct(agent.handler, agent.task, parse_responses_request(body))
    assert agent.asked == [
        {
            "messages": MESSAGES,
            "tools": [CHAT_TOOL],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "max_tokens": 9,
            "reasoning_effort": "low",
            "verbosity": "low",
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            "temperature": 0.5,
        }
    ]
    # And back: what a chat client sends arrives in the other API as it was.
    other = RecordingAgent(Task.RESPONSES)
    await answer_chat(other.handler, other.task, parse_chat_request(agent.asked[0]))
    (asked,) = other.asked
    assert {name: asked[name] for name in body if name not in ("input", "instructions")} == {
        name: value for name, value in body.items() if name not in ("input", "instructions")
    }
    assert [item.get("content", item["type"]) for item in asked["input"]] == [
        "Be brief.", "What is on?", "function_call", "function_call_output", "Rain.", "And now?",
    ]  # fmt: skip


async def test_custom_tools_and_images_in_results_keep_their_form() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:x", "detail": "auto"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [{**CUSTOM, "id": "c1"}, {**CALL, "id": "c2"}]},
        {"role": "tool", "content": [image], "tool_call_id": "c1", "name": "sing"},
        {"role": "tool", "content": "rain", "tool_call_id": "c2", "name": "look"},
    ]
    other, chat = RecordingAgent(Task.RESPONSES), RecordingAgent(Task.CHAT)
    await answer_chat(other.handler, other.task, parse_chat_request({"messages": messages}))
    await answer_direct(chat.handler, chat.task, parse_responses_request({"input": other.asked[0]["input"]}))
    assert chat.asked[0]["messages"] == messages


async def test_images_and_files_keep_their_form() -> None:
    parts = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
        {"type": "file", "file": {"file_id": "f"}},
    ]
    other, chat = RecordingAgent(Task.RESPONSES), RecordingAgent(Task.CHAT)
    await answer_chat(other.handler, other.task, parse_chat_request({"messages": [{"role": "user", "content": parts}]}))
    await answer_direct(chat.handler, chat.task, parse_responses_request({"input": other.asked[0]["input"]}))
    assert chat.asked[0]["messages"] == [{"role": "user", "content": parts}]


@pytest.mark.parametrize(
    ("task", "body", "param"),
    [
        (Task.CHAT, {"truncation": "auto"}, "truncation"),
        (Task.CHAT, {"reasoning": {"effort": "low", "summary": "auto"}}, "reasoning.summary"),
        (Task.CHAT, {"tools": [{"type": "web_search"}]}, "tools[0]"),
        (
            Task.CHAT,
            {"input": [{"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}]},
            "input[0]",
        ),
        (Task.CHAT_AGENT, {"tools": [TOOL]}, "tools"),
        (Task.CHAT_AGENT, {"temperature": 0.1}, "temperature"),
    ],
)
def test_what_a_task_cannot_say_is_refused_before_anything_is_streamed(task: Task, body: Json, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        run_direct(RecordingAgent(task).handler, task, parse_responses_request({"input": "Hi", **body}))
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stop": "x"}, "stop"),
        ({"store": True}, "store"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"context": {"conversation_id": "c"}}, "context.conversation_id"),
    ],
)
def test_chat_completions_refuses_what_the_agent_cannot_do(more: Json, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        run_chat(RecordingAgent(Task.RESPONSES).handler, Task.RESPONSES, parse_chat_request({**CHAT.body, **more}))
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([1], ""),
        ({"input": "Hi"}, "messages"),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "Hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages[0].tool_calls[0]"),
        ({"messages": [{"role": "user", "content": "Hi", "tool_calls": [CALL]}]}, "messages[0].tool_calls[0]"),
        ({**CHAT.body, "n": 2}, "n"),
        ({**CHAT.body, "colour": "red"}, "colour"),
        ({**CHAT.body, "stop": 1}, "stop"),
    ],
)
def test_odd_chat_bodies_are_refused_by_name(body: Any, param: str) -> None:
    with pytest.raises(ApiError) as refused:
        parse_chat_request(body)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize("task", [Task.NONE, Task.CHAT_AGENT])
@pytest.mark.parametrize("body", [[1], "Hi", None, 1])
async def test_a_body_that_is_no_object_is_refused_in_every_format(task: Task, body: Any) -> None:
    with pytest.raises(ApiError, match="JSON object"):
        await answer_native(RecordingAgent(task).handler, task, body)
    with pytest.raises(ApiError, match="JSON object"):
        run_native(RecordingAgent(task).handler, task, body)


def streaming(task: Task, *events: Json) -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.stream_method
    async def stream(request: Json) -> AsyncGenerator[Json, None]:
        for event in events:
            yield event

    return registry


def pieces(*calls: Json) -> Json:
    return {"choices": [{"delta": {"tool_calls": list(calls)}}]}


async def test_a_tool_call_in_pieces_is_one_call_in_either_api() -> None:
    events = (
        pieces({"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a"'}}),
        pieces({"index": 0, "function": {"arguments": ": 1}"}}, {"index": 1, "id": "c2", "function": {"name": "go"}}),
    )
    handler = streaming(Task.CHAT, *events).handler(Task.CHAT)
    output = accumulated(await all_of(run_direct(handler, Task.CHAT, RESPONSES)))["output"]
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output] == [
        ("c1", "look", '{"a": 1}'),
        ("c2", "go", "{}"),
    ]
    completion = ChatCompletion.model_validate(await answer_chat(handler, Task.CHAT, CHAT))
    assert completion.choices[0].finish_reason == "tool_calls"
    assert [call.id for call in completion.choices[0].message.tool_calls or ()] == ["c1", "c2"]
    chunks = await all_of(run_chat(handler, Task.CHAT, CHAT))
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def item(kind: str, **more: Any) -> Json:
    return {"type": "response.output_item.done", "item": {"type": kind, **more}}


async def test_only_calls_without_a_result_are_for_the_client() -> None:
    events = (
        item("function_call", call_id="own", name="look", arguments="{}"),
        item("function_call_output", call_id="own", output="rain"),
        item("function_call", call_id="yours", name="go", arguments="{}"),
    )
    handler = streaming(Task.RESPONSES, *events).handler(Task.RESPONSES)
    chunks = await all_of(run_chat(handler, Task.RESPONSES, CHAT))
    calls = [call for each in chunks for choice in each["choices"] for call in choice["delta"].get("tool_calls", ())]
    assert [(call["index"], call["id"]) for call in calls] == [(0, "yours")]
    message = (await answer_chat(handler, Task.RESPONSES, CHAT))["choices"][0]["message"]
    assert ([call["id"] for call in message["tool_calls"]], message["content"]) == (["yours"], None)


async def test_messages_of_one_answer_are_paragraphs_of_one_message_and_citations_move_along() -> None:
    url = {"type": "url_citation", "url": "https://example.com", "title": "E", "start_index": 0, "end_index": 3}
    content = [{"type": "output_text", "text": "Two", "annotations": [url]}]
    events = (
        {"type": "response.output_text.delta", "item_id": "a", "delta": "One"},
        item("message", id="b", content=content),
    )
    handler = streaming(Task.RESPONSES, *events).handler(Task.RESPONSES)
    message = (await answer_chat(handler, Task.RESPONSES, CHAT))["choices"][0]["message"]
    cited = message["annotations"][0]["url_citation"]
    assert message["content"] == "One\n\nTwo"
    assert message["content"][cited["start_index"] : cited["end_index"]] == "Two"
    chunks = await all_of(run_chat(handler, Task.RESPONSES, CHAT))
    assert "".join(c["delta"].get("content") or "" for each in chunks for c in each["choices"]) == "One\n\nTwo"


async def test_databricks_parts_are_text_and_reasoning() -> None:
    content = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "text", "text": "Hi"},
    ]
    handler = streaming(Task.CHAT, {"choices": [{"delta": {"content": content}}]}).handler(Task.CHAT)
    output = accumulated(await all_of(run_direct(handler, Task.CHAT, RESPONSES)))["output"]
    assert [each["type"] for each in output] == ["reasoning", "message"]


@pytest.mark.parametrize("error", ["No data today.", {"message": "No data today.", "code": 3}])
async def test_a_handlers_own_error_in_place_of_a_chunk_ends_the_answer(error: Any) -> None:
    handler = streaming(Task.CHAT, {"choices": [{"delta": {"content": "Well"}}]}, {"error": error}).handler(Task.CHAT)
    chunks = await all_of(run_chat(handler, Task.CHAT, CHAT))
    assert [each.get("error", {}).get("message") for each in chunks] == [None, "No data today."]
    assert chunks[-1]["error"]["code"] == "server_error"
    response = accumulated(await all_of(run_direct(handler, Task.CHAT, RESPONSES)))
    assert (response["status"], response["error"]["message"]) == ("failed", "No data today.")
    for answering in (answer_chat(handler, Task.CHAT, CHAT), answer_direct(handler, Task.CHAT, RESPONSES)):
        with pytest.raises(ApiError, match="No data today"):
            await answering


async def test_a_chat_agents_tools_were_called_by_itself() -> None:
    events = (
        {"delta": {"role": "assistant", "content": "", "tool_calls": [CALL], "id": "1"}},
        {"delta": {"role": "tool", "content": "rain", "tool_call_id": "c1", "name": "look", "id": "2"}},
        {"delta": {"role": "assistant", "content": "Rain."}},
        {"delta": {"role": "assistant", "content": " Bring a coat."}, "finish_reason": "length"},
    )
    handler = streaming(Task.CHAT_AGENT, *events).handler(Task.CHAT_AGENT)
    response = accumulated(await all_of(run_direct(handler, Task.CHAT_AGENT, RESPONSES)))
    assert [each["type"] for each in response["output"]] == ["function_call", "function_call_output", "message"]
    assert (response["status"], response["output"][2]["content"][0]["text"]) == ("incomplete", "Rain. Bring a coat.")
    completion = await answer_chat(handler, Task.CHAT_AGENT, CHAT)
    assert completion["choices"][0]["message"]["content"] == "Rain. Bring a coat."
    answer = await answer_native(handler, Task.CHAT_AGENT, {"messages": HISTORY[:1]})
    assert [message["content"] for message in answer["messages"]] == ["", "rain", "Rain. Bring a coat."]


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        (Task.CHAT, {"text": "Hi"}),
        (Task.CHAT, {"choices": [{"message": {}}]}),
        (Task.CHAT, {"choices": ["Hi"]}),
        (Task.CHAT_AGENT, {"messages": []}),
        (Task.CHAT_AGENT, {"delta": {"role": "assistant"}}),
        (Task.CHAT_AGENT, {"delta": {"role": "wizard", "content": "Hi"}}),
        (Task.CHAT_AGENT, {"delta": {"role": "tool", "content": "Hi"}}),
        (Task.RESPONSES, {"choices": []}),
    ],
)
async def test_what_is_not_of_the_task_fails_the_answer(task: Task, wrong: Json) -> None:
    handler = streaming(task, wrong).handler(task)
    assert accumulated(await all_of(run_direct(handler, task, RESPONSES)))["status"] == "failed"
    assert (await all_of(run_chat(handler, task, CHAT)))[-1]["error"]["type"] == "server_error"
    with pytest.raises(ApiError) as failed:
        await answer_chat(handler, task, CHAT)
    assert failed.value.status == 500
