"""OpenAI's own client for Python against the server: every task type, in one piece and streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from agent_server.handlers.handler import Handler
from agent_server.handlers.registry import HandlerRegistry
from agent_server.protocol.task import Task
from tests.agent_server.handlers.agents import RecordingAgent
from tests.agent_server.http.serving import running, services

Json = dict[str, Any]
every_task = pytest.mark.parametrize("task", list(Task))
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": '{"a": 1}'}
URL = {"type": "url_citation", "url": "https://example.com", "title": "E", "start_index": 0, "end_index": 1}
TOOLS: Any = [{"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}]
CHAT_TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
HELLO: Any = [{"role": "user", "content": "Hi"}]


@asynccontextmanager
async def client_of(handler: Handler, task: Task = Task.RESPONSES, path: str = "") -> AsyncIterator[openai.AsyncOpenAI]:
    async with running(services(handler, task=task)) as server:
        client = openai.AsyncOpenAI(base_url=server.address + path, api_key="none", timeout=10)
        async with client:
            yield client


def yielding(*events: Json) -> Handler:
    registry = HandlerRegistry()

    @registry.stream_method
    async def stream(request: Json) -> AsyncGenerator[Json, None]:
        for event in events:
            yield event

    return registry.handler(Task.RESPONSES)


def delta(text: str) -> Json:
    return {"type": "response.output_text.delta", "item_id": "m", "delta": text}


def done(item: Json) -> Json:
    return {"type": "response.output_item.done", "item": item}


@every_task
async def test_responses_in_one_piece_and_streamed(task: Task) -> None:
    async with client_of(RecordingAgent(task).handler, task) as client:
        response = await client.responses.create(model="m", input="Hi")
        assert (response.output_text, response.status, response.model) == ("Hello", "completed", "m")
        assert response.usage
        assert response.usage.total_tokens == 5
        assert response.id.startswith("resp_")
        async with client.responses.stream(model="m", input="Hi") as stream:
            said = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        assert ("".join(said), final.output_text, final.status) == ("Hello", "Hello", "completed")
        assert (final.model_extra or {})["custom_outputs"] == {"a": 1}
        raw = [event async for event in await client.responses.create(model="m", input="Hi", stream=True)]
        assert [event.sequence_number for event in raw] == list(range(len(raw)))


@every_task
async def test_chat_completions_in_one_piece_and_streamed(task: Task) -> None:
    async with client_of(RecordingAgent(task).handler, task, "/v1") as client:
        completion = await client.chat.completions.create(model="m", messages=HELLO)
        assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("Hello", "stop")
        assert completion.usage
        assert completion.usage.total_tokens == 5
        usage: Any = {"include_usage": True}
        async with client.chat.completions.stream(model="m", messages=HELLO, stream_options=usage) as stream:
            await stream.until_done()
            final = await stream.get_final_completion()
        assert (final.choices[0].message.content, final.choices[0].finish_reason) == ("Hello", "stop")
        assert final.usage
        assert final.usage.total_tokens == 5


async def test_tool_calls_and_citations_arrive_in_both_apis() -> None:
    message = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Well", "annotations": [URL]}]}
    async with client_of(yielding(delta("We"), delta("ll"), done(message), done(CALL)), path="/api") as client:
        async with client.responses.stream(model="m", input="Hi", tools=TOOLS) as stream:
            final = await stream.get_final_response()
        text, call = final.output
        assert text.type == "message"
        assert text.content[0].type == "output_text"
        assert text.content[0].annotations[0].type == "url_citation"
        assert call.type == "function_call"
        assert (call.call_id, call.arguments, call.parsed_arguments) == ("call_1", '{"a": 1}', None)
        async with client.chat.completions.stream(model="m", messages=HELLO, tools=CHAT_TOOLS) as chat:
            choice = (await chat.get_final_completion()).choices[0]
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Well")
        assert choice.message.tool_calls
        assert (choice.message.tool_calls[0].id, choice.message.tool_calls[0].function.name) == ("call_1", "look")
        completion = await client.chat.completions.create(model="m", messages=HELLO, tools=CHAT_TOOLS)
        annotations = completion.choices[0].message.annotations
        assert annotations
        assert annotations[0].url_citation.url == "https://example.com"


class Weather(BaseModel):
    degrees: int


async def test_structured_outputs_are_parsed() -> None:
    async with client_of(yielding(delta('{"degrees"'), delta(": 21}"))) as client:
        parsed = await client.responses.parse(model="m", input="Hi", text_format=Weather)
        assert parsed.output_parsed == Weather(degrees=21)
        completion = await client.chat.completions.parse(model="m", messages=HELLO, response_format=Weather)
        assert completion.choices[0].message.parsed == Weather(degrees=21)


async def test_a_conversation_of_tools_goes_back_as_the_client_keeps_it() -> None:
    agent = RecordingAgent(Task.RESPONSES)
    async with client_of(yielding(done(CALL))) as client:
        first = await client.responses.create(model="m", input="Hi", tools=TOOLS)
    async with client_of(agent.handler) as client:
        result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
        await client.responses.create(model="m", input=[*HELLO, *(i.to_dict() for i in first.output), result])  # type: ignore[list-item]
    assert [item["type"] for item in agent.asked[0]["input"]] == ["message", "function_call", "function_call_output"]


async def test_a_failure_is_raised_once_and_never_asked_again() -> None:
    """The client repeats what fails with 5xx twice, unless it is told not to: a tool would run three times."""
    asked: list[Json] = []
    registry = HandlerRegistry()

    @registry.invoke_method
    async def fail(request: Json) -> Json:
        asked.append(request)
        raise RuntimeError("the password is hunter2")

    async with client_of(registry.handler(Task.RESPONSES)) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await client.responses.create(model="m", input="Hi")
        assert "hunter2" not in str(failed.value)
        assert len(asked) == 1
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="m", messages=HELLO)
        assert len(asked) == 2
        async with client.responses.stream(model="m", input="Hi") as stream:
            kinds = [event.type async for event in stream]
        assert kinds[-2:] == ["error", "response.failed"]
        with pytest.raises(openai.APIError, match="The agent failed"):
            async for _ in await client.chat.completions.create(model="m", messages=HELLO, stream=True):
                pass


async def test_a_refusal_names_the_parameter() -> None:
    async with client_of(RecordingAgent(Task.CHAT_AGENT).handler, Task.CHAT_AGENT) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="m", input="Hi", temperature=0.1)
        assert refused.value.param == "temperature"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="m", messages=HELLO, stop="x", stream=True)
        assert refused.value.param == "stop"
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="m", input="Hi", previous_response_id="resp_unknown")
        assert refused.value.param


async def test_invocations_speaks_the_format_of_the_task() -> None:
    body: Json = {"messages": HELLO}
    async with client_of(RecordingAgent(Task.CHAT_AGENT).handler, Task.CHAT_AGENT) as client:
        answer = await client.post("/invocations", cast_to=object, body=body)
        assert answer == {
            "messages": [{"role": "assistant", "content": "Hello", "id": "1"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
            "custom_outputs": {"a": 1},
        }
    agent = RecordingAgent(Task.NONE)
    async with client_of(agent.handler, Task.NONE) as client:
        assert await client.post("/invocations", cast_to=object, body={"anything": [1]})
    assert agent.asked == [{"anything": [1]}]
