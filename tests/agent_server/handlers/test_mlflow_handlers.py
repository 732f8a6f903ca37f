"""Files that were written for MLflow's own agent server, with the real MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agent_server.handlers.direct import answer_direct, run_direct
from agent_server.handlers.registry import HandlerRegistry
from agent_server.handlers.request_context import RequestContext, request_context
from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.mlflow_items import event_for_mlflow, response_for_mlflow
from agent_server.protocol.responses_request import parse_responses_request
from agent_server.protocol.task import Task
from tests.agent_server.clients.test_openai_node import ITEMS
from tests.agent_server.protocol.accumulated import accumulated, assembled

# MLflow imports much when it is first used, and warns.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

HELLO = parse_responses_request({"input": "Hello", "custom_inputs": {"a": 1}})


@pytest.fixture
def mlflow_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import mlflow
    import mlflow.genai.agent_server.server as server

    monkeypatch.setattr(server, "_invoke_function", None)
    monkeypatch.setattr(server, "_stream_function", None)
    # MLflow's classes trace what they do, and make a database in the working directory for it.
    mlflow.tracing.disable()
    yield server
    mlflow.tracing.reset()


async def test_mlflows_decorators_types_helpers_and_headers_work_as_in_its_own_server(mlflow_server: Any) -> None:
    from mlflow.genai.agent_server import get_request_headers
    from mlflow.types.responses import (
        ResponsesAgentRequest,
        ResponsesAgentResponse,
        ResponsesAgentStreamEvent,
        create_function_call_item,
        create_function_call_output_item,
        create_text_delta,
        create_text_output_item,
        output_to_responses_items_stream,
    )

    invoke, stream = mlflow_server.invoke, mlflow_server.stream

    @invoke()  # type: ignore[untyped-decorator]
    def non_streaming(request: ResponsesAgentRequest) -> ResponsesAgentResponse:
        said = f"{request.input[0].content} {request.custom_inputs} {get_request_headers()['x-forwarded-user']}"
        return ResponsesAgentResponse(output=[create_text_output_item(text=said, id="msg_1")])

    @stream()  # type: ignore[untyped-decorator]
    def streaming(request: Any) -> Iterator[ResponsesAgentStreamEvent]:
        assert isinstance(request, ResponsesAgentRequest)
        # What templates do with a model's chunks: all items get the id of the chunk.
        chunks = [
            {"id": "chatcmpl-1", "choices": [{"delta": {"content": "Let me "}}]},
            {"id": "chatcmpl-1", "choices": [{"delta": {"content": "look."}}]},
            {"id": "chatcmpl-1", "choices": [{"delta": {"tool_calls": [_tool_call()]}}]},
        ]
        yield from output_to_responses_items_stream(iter(chunks))
        call = create_function_call_item(id="fc", call_id="call_2", name="look", arguments="{}")
        output = create_function_call_output_item(call_id="call_1", output="rain")
        for item in (output, call):
            yield ResponsesAgentStreamEvent(type="response.output_item.done", item=item)
        yield ResponsesAgentStreamEvent(**create_text_delta("Rain.", "msg_2"))
        item = create_text_output_item("Rain.", "msg_2")
        yield ResponsesAgentStreamEvent(type="response.output_item.done", item=item)

    handler = HandlerRegistry().handler(Task.RESPONSES)
    with request_context(RequestContext("req-1", ServerCaller("local"), {"x-forwarded-user": "ann"})):
        response = await answer_direct(handler, Task.RESPONSES, HELLO)
        events = [event async for event in run_direct(handler, Task.RESPONSES, HELLO)]
    assert response["output"][0]["content"][0]["text"] == "Hello {'a': 1} ann"
    items = accumulated(events)["output"]
    assert [item["type"] for item in items] == [
        "message", "function_call", "function_call_output", "function_call", "message",
    ]  # fmt: skip
    assert [item["content"][0]["text"] for item in items if item["type"] == "message"] == ["Let me look.", "Rain."]
    # And what we send back is what MLflow takes.
    ResponsesAgentResponse.model_validate(response)
    for event in events:
        ResponsesAgentStreamEvent.model_validate(event)


async def test_the_methods_of_mlflows_agent_classes_can_be_registered(mlflow_server: Any) -> None:
    from mlflow.pyfunc import ChatAgent, ResponsesAgent
    from mlflow.types.agent import ChatAgentChunk, ChatAgentMessage, ChatAgentResponse
    from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse, create_text_output_item

    class Responding(ResponsesAgent):  # type: ignore[misc]
        def predict(self, request: ResponsesAgentRequest) -> ResponsesAgentResponse:
            return ResponsesAgentResponse(output=[create_text_output_item(request.input[0].content, "msg_1")])

    class Chatting(ChatAgent):  # type: ignore[misc]
        def predict(
            self, messages: list[ChatAgentMessage], context: Any = None, custom_inputs: Any = None
        ) -> ChatAgentResponse:
            said = f"{messages[0].content} {custom_inputs}"
            return ChatAgentResponse(messages=[ChatAgentMessage(role="assistant", content=said, id="1")])

        def predict_stream(
            self, messages: list[ChatAgentMessage], context: Any = None, custom_inputs: Any = None
        ) -> Iterator[ChatAgentChunk]:
            for message in self.predict(messages, context, custom_inputs).messages:
                yield ChatAgentChunk(delta=message)

    registry = HandlerRegistry()
    registry.invoke_method(Responding().predict)
    response = await answer_direct(registry.handler(Task.RESPONSES), Task.RESPONSES, HELLO)
    assert response["output"][0]["content"][0]["text"] == "Hello"
    registry = HandlerRegistry()
    registry.invoke_method(Chatting().predict)
    registry.stream_method(Chatting().predict_stream)
    handler = registry.handler(Task.CHAT_AGENT)
    response = await answer_direct(handler, Task.CHAT_AGENT, HELLO)
    events = [event async for event in run_direct(handler, Task.CHAT_AGENT, HELLO)]
    for answer in (response, accumulated(events)):
        assert answer["output"][0]["content"][0]["text"] == "Hello {'a': 1}"


async def test_whatever_the_server_answers_mlflow_takes_when_it_serves_the_logged_agent() -> None:
    from mlflow.types.responses import ResponsesAgentResponse, ResponsesAgentStreamEvent

    citation = {"type": "container_file_citation", "file_id": "f"}
    unknown = [
        {"type": "mcp_list_tools", "id": "l", "server_label": "s", "tools": []},
        {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hi", "annotations": [citation]}]},
        {"type": "message", "id": "empty", "content": []},
    ]
    events = assembled(*({"type": "response.output_item.done", "item": item} for item in [*ITEMS, *unknown]))
    taken = [each for event in events for each in event_for_mlflow(event)]
    done = [each["item"] for each in taken if each["type"] == "response.output_item.done"]
    for each in taken:
        ResponsesAgentStreamEvent.model_validate(each)
    response = response_for_mlflow(events[-1]["response"])
    ResponsesAgentResponse.model_validate(response)
    assert response["output"] == done
    calls = [item for item in done if item.get("call_id") == "mcp_1"]
    assert [(item["type"], item.get("output")) for item in calls] == [
        ("function_call", None),
        ("function_call_output", "42"),
    ]


def _tool_call() -> dict[str, Any]:
    return {"index": 0, "id": "call_1", "function": {"name": "look", "arguments": "{}"}}
