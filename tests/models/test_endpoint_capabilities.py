"""What an endpoint refuses is found out from its own words, and not sent again. The words are those of real servers."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from app.models.endpoint_capabilities import REFUSALS_REMEMBERED_SECONDS, EndpointCapabilities
from app.models.model import Message, ModelRequest, ToolCall, ToolDefinition
from app.models.model_errors import ConversationTooLongError, RequestRefusedError
from tests.fakes.endpoint_model import QUESTION, Sleeper, answer, asking, text_of
from tests.fakes.serving_endpoint import HttpReply, ServingEndpoint, Stream, agent_stream, databricks_error, event

TOOLS = (ToolDefinition("time", "", {"type": "object"}),)
REQUEST = ModelRequest((Message("system", "Be brief."), Message("user", "Hi")), TOOLS)
SETTINGS: dict[str, Any] = {"max_tokens": 50, "temperature": 0.2, "api": "chat"}


def openai_error(message: str, **more: Any) -> HttpReply:
    return HttpReply(400, {"error": {"message": message, "type": "invalid_request_error", **more}})


def external(message: str) -> HttpReply:
    """A foundation model behind Databricks: its own error as JSON within the text of Databricks'."""
    return databricks_error(400, "BAD_REQUEST", json.dumps({"message": message}))


REFUSALS: dict[str, tuple[str, HttpReply]] = {
    "databricks parameter": (
        "tools",
        databricks_error(400, "BAD_REQUEST", 'parameter "tools" is not supported for this model'),
    ),
    "databricks field": ("tools", databricks_error(400, "BAD_REQUEST", 'Bad request: json: unknown field "tools"\n')),
    "databricks supervisor": (
        "tools",
        databricks_error(400, "BAD_REQUEST", "Invalid properties not defined in the schema found: {'function'}"),
    ),
    "vllm without a parser": (
        "tools",
        HttpReply(
            400,
            {
                "object": "error",
                "message": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
    ),
    "openai tools": (
        "tools",
        openai_error("tools is not supported in this model. For a list of supported models, refer to https://…"),
    ),
    "bedrock tools": (
        "tools",
        external("The model returned the following errors: This model doesn't support tool use in streaming mode."),
    ),
    "ollama": ("tools", openai_error("registry.ollama.ai/library/gemma:latest does not support tools")),
    "gemini tools": (
        "tools",
        HttpReply(400, [{"error": {"code": 400, "message": "Function calling is not enabled for models/gemma-3"}}]),
    ),
    "azure max_tokens": (
        "max_tokens",
        openai_error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
            "instead.",
            param="max_tokens",
            code="unsupported_parameter",
        ),
    ),
    "anthropic max_tokens": (
        "max_tokens",
        external("max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for claude-3"),
    ),
    "bedrock max_tokens": (
        "max_tokens",
        external("The maximum tokens you requested exceeds the model limit of 4096. Try again with a lower value."),
    ),
    "azure temperature": (
        "temperature",
        openai_error(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is "
            "supported.",
            param="temperature",
            code="unsupported_value",
        ),
    ),
    "claude temperature": ("temperature", external("`temperature` is deprecated for this model.")),
    "databricks temperature": (
        "temperature",
        databricks_error(400, "BAD_REQUEST", "Model eu.anthropic.claude does not support the temperature parameter."),
    ),
    "anthropic range": ("temperature", external("temperature: range: 0..1")),
    "bedrock stream_options": ("stream_options", external("extraneous key [include_usage] is not permitted")),
    "anthropic stream_options": (
        "stream_options",
        databricks_error(400, "BAD_REQUEST", "stream_options: Extra inputs are not permitted"),
    ),
    "vllm pydantic": (
        "stream_options",
        HttpReply(
            422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}
        ),
    ),
    "gateway": (
        "temperature",
        HttpReply(
            400,
            {
                "error": "Received error from openai",
                "external_model_message": {"error": {"message": "Unsupported parameter: 'temperature'", "code": None}},
            },
        ),
    ),
    "no streaming": ("stream", databricks_error(400, "BAD_REQUEST", "This endpoint does not support streaming.")),
    "no system role": ("system", openai_error("System role not supported")),
    "within the stream": (
        "tools",
        HttpReply(
            200, 'data: {"error": {"code": 400, "message": "Unrecognized request argument supplied: tools"}}\n\n'
        ),
    ),
}


def parts_of(body: dict[str, Any]) -> set[str]:
    sent = {name for name in body if name not in ("model", "messages") and body[name] is not False}
    return sent | {message["role"] for message in body["messages"] if message["role"] == "system"}


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_parameter_that_an_endpoint_refuses_is_left_out_from_then_on(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    parameter, refusal = REFUSALS[name]
    async with ServingEndpoint() as endpoint, asking(endpoint, **SETTINGS) as model:
        endpoint.replies.append(refusal)
        with caplog.at_level(logging.WARNING, "app.databricks_client"):
            assert text_of(await answer(model, REQUEST)) == "Hello"
        assert text_of(await answer(model, REQUEST)) == "Hello"
    everything, adapted, later = (parts_of(asked.body) for asked in endpoint.asked)
    left_out = everything - adapted - ({"stream_options"} if parameter == "stream" else set())
    assert left_out == {parameter}
    assert later == adapted
    assert [f"refuses the parameter {parameter}" in line for line in caplog.messages] == ([True] if later else [])


async def test_a_limit_of_tokens_goes_by_its_newer_name_where_the_older_is_refused() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, **SETTINGS) as model:
        endpoint.replies.append(REFUSALS["azure max_tokens"][1])
        await answer(model, REQUEST)
    assert "max_tokens" not in endpoint.asked[1].body
    assert endpoint.asked[1].body["max_completion_tokens"] == 50


async def test_several_refusals_are_learned_one_after_another() -> None:
    names = ("azure max_tokens", "azure temperature", "openai tools", "bedrock stream_options")
    async with ServingEndpoint() as endpoint, asking(endpoint, **SETTINGS) as model:
        endpoint.replies.extend(REFUSALS[name][1] for name in names)
        assert text_of(await answer(model, REQUEST)) == "Hello"
    assert parts_of(endpoint.asked[-1].body) == {"stream", "max_completion_tokens", "system"}


@pytest.mark.parametrize(
    "message",
    [
        "Invalid content in messages[1]: 'why are tools not supported here?'",
        "tool call validation failed: parameters for tool time: additionalProperties 'zone' not allowed",
    ],
    ids=["a person's words", "what the model made up"],
)
async def test_tools_that_were_refused_by_mistake_are_offered_again_later(message: str) -> None:
    sleeper = Sleeper()
    async with ServingEndpoint() as endpoint, asking(endpoint, sleeper=sleeper, **SETTINGS) as model:
        endpoint.replies.append(openai_error(message))
        for _ in range(3):
            assert text_of(await answer(model, REQUEST)) == "Hello"
            sleeper.now += REFUSALS_REMEMBERED_SECONDS / 2 + 1
    assert ["tools" in asked.body for asked in endpoint.asked] == [True, False, False, True]


async def test_an_agent_that_takes_no_tools_is_asked_without_them() -> None:
    refusal = databricks_error(400, "BAD_REQUEST", 'json: unknown field "tools"')
    async with ServingEndpoint(task="agent/v1/responses") as endpoint, asking(endpoint) as model:
        endpoint.replies.extend([refusal, agent_stream("Hello"), agent_stream("Hello")])
        assert text_of(await answer(model, REQUEST)) == "Hello"
        assert text_of(await answer(model, REQUEST)) == "Hello"
    assert ["tools" in asked.body for asked in endpoint.asked] == [True, False, False]


@pytest.mark.parametrize(
    "refusal",
    [
        openai_error("messages.2: `tool_use` ids were found without `tool_result` blocks immediately after"),
        openai_error("Function call is missing a thought_signature. This is required for tools to work correctly"),
        openai_error("messages: text content blocks must be non-empty"),
        databricks_error(400, "BAD_REQUEST", "no"),
    ],
)
async def test_a_refusal_of_something_else_is_not_answered_by_leaving_things_out(refusal: HttpReply) -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, **SETTINGS) as model:
        endpoint.replies.append(refusal)
        with pytest.raises(RequestRefusedError):
            await answer(model, REQUEST)
        await answer(model, REQUEST)
    assert len(endpoint.asked) == 2
    assert parts_of(endpoint.asked[0].body) == parts_of(endpoint.asked[1].body)


async def test_what_did_not_help_is_not_learned() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, **SETTINGS) as model:
        endpoint.replies.extend([REFUSALS["openai tools"][1]] * 2)
        with pytest.raises(RequestRefusedError, match="it refuses tools"):
            await answer(model, REQUEST)
        await answer(model, REQUEST)
    assert ["tools" in asked.body for asked in endpoint.asked] == [True, False, True]


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (1000 in the messages, "
        "4000 in the completion). Please reduce the length of the messages or completion.",
        "'max_tokens' or 'max_completion_tokens' is too large: 4000. This model's maximum context length is 4096 "
        "tokens and your request has 1000 input tokens (4000 > 4096 - 1000).",
    ],
)
async def test_a_limit_that_does_not_fit_one_conversation_is_left_out_of_that_one(said: str) -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, **SETTINGS) as model:
        endpoint.replies.append(openai_error(said))
        assert text_of(await answer(model, REQUEST)) == "Hello"
        await answer(model, REQUEST)
    assert ["max_tokens" in asked.body for asked in endpoint.asked] == [True, False, True]


async def test_a_conversation_that_is_too_long_without_any_limit_is_too_long() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, api="chat") as model:
        endpoint.replies.append(openai_error("This model's maximum context length is 4096 tokens."))
        with pytest.raises(ConversationTooLongError):
            await answer(model)


TRAFFIC = ModelRequest(
    (
        *QUESTION.messages,
        Message("assistant", " ", (ToolCall("c1", "time", "{}", {"extra_content": {"a": 1}, "function": {"b": 2}}),)),
        Message("tool", "", tool_call_id="c1"),
    ),
    TOOLS,
)


async def test_a_tool_call_goes_back_as_it_came_and_no_text_is_empty() -> None:
    async with ServingEndpoint("any-name") as endpoint, asking(endpoint, api="chat") as model:
        await answer(model, TRAFFIC)
    _, called, result = endpoint.asked[0].body["messages"]
    assert called == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "extra_content": {"a": 1},
                "function": {"b": 2, "name": "time", "arguments": "{}"},
            }
        ],
    }
    assert result["content"].strip()


async def test_a_call_goes_back_to_an_agent_as_it_came() -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, api="responses") as model:
        endpoint.replies.append(agent_stream("Hello"))
        await answer(model, TRAFFIC)
    assert endpoint.asked[0].body["input"][1] == {
        "type": "function_call",
        "call_id": "c1",
        "name": "time",
        "arguments": "{}",
        "extra_content": {"a": 1},
        "function": {"b": 2},
    }


async def test_a_field_of_its_own_calls_that_an_endpoint_does_not_want_back_is_left_out() -> None:
    refusal = databricks_error(
        400, "BAD_REQUEST", "extra_content: Extra inputs are not permitted, messages.1.tool_calls.0"
    )
    async with ServingEndpoint() as endpoint, asking(endpoint, api="chat") as model:
        endpoint.replies.append(refusal)
        await answer(model, TRAFFIC)
    (call,) = endpoint.asked[1].body["messages"][1]["tool_calls"]
    assert "extra_content" not in call
    assert "tools" in endpoint.asked[1].body


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_where_no_tools_are_offered_calls_and_results_are_sent_as_text(api: str) -> None:
    async with ServingEndpoint() as endpoint, asking(endpoint, api=api) as model:
        endpoint.replies.append(Stream([event({"choices": [{"delta": {}, "finish_reason": "stop"}]}), b"data: [DONE]"]))
        await answer(model, ModelRequest((*TRAFFIC.messages[:2], Message("tool", "12:00", tool_call_id="c1"))))
    body = endpoint.asked[0].body
    sent = body["messages" if api == "chat" else "input"]
    assert [message["role"] for message in sent] == ["user", "user"]
    assert "12:00" in sent[1]["content"]
    assert "tool_calls" not in json.dumps(body)


def test_an_agent_that_continues_seconds_after_its_end_is_waited_for() -> None:
    known_to_leave_it_open = EndpointCapabilities(leaves_streams_open=True)
    known_to_go_on = EndpointCapabilities(leaves_streams_open=True, continues_after_end=True)
    assert 3 < known_to_leave_it_open.wait_after_end_seconds < EndpointCapabilities().wait_after_end_seconds
    assert known_to_go_on.wait_after_end_seconds == EndpointCapabilities().wait_after_end_seconds >= 30
