"""A request of chat completions: https://platform.openai.com/docs/api-reference/chat/create"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_server.protocol.api_error import ApiError
from agent_server.protocol.chat_messages import check_messages, items_of_messages, messages_of_items
from agent_server.protocol.request_parameters import (
    CONTEXT,
    COUNT,
    FLAG,
    METADATA,
    MODEL_PARAMETERS,
    NUMBER,
    OBJECT,
    OBJECTS,
    TEXT,
    TEXTS,
    TOOL_CHOICE,
    Check,
    check_types,
    refuse_unless_default,
    refused,
)
from agent_server.protocol.responses_request import ResponsesRequest, parse_responses_request

Json = dict[str, Any]

_PARAMETERS: Mapping[str, Check] = {
    "audio": OBJECT,
    "context": CONTEXT,
    "custom_inputs": OBJECT,
    "frequency_penalty": NUMBER,
    "function_call": TOOL_CHOICE,
    "functions": OBJECTS,
    "logit_bias": OBJECT,
    "logprobs": FLAG,
    "max_completion_tokens": COUNT,
    "max_tokens": COUNT,
    "metadata": METADATA,
    "modalities": TEXTS,
    "model": TEXT,
    "n": (lambda value: value == 1, "1: an agent gives one answer"),
    "parallel_tool_calls": FLAG,
    "prediction": OBJECT,
    "presence_penalty": NUMBER,
    "prompt_cache_key": TEXT,
    "prompt_cache_options": OBJECT,
    "prompt_cache_retention": TEXT,
    "reasoning_effort": TEXT,
    "response_format": OBJECT,
    "safety_identifier": TEXT,
    "seed": NUMBER,
    "service_tier": TEXT,
    "stop": (lambda value: TEXT[0](value) or TEXTS[0](value), "a string or a list of strings"),
    "store": FLAG,
    "stream": FLAG,
    "stream_options": OBJECT,
    "temperature": NUMBER,
    "tool_choice": TOOL_CHOICE,
    "tools": OBJECTS,
    "top_k": COUNT,
    "top_logprobs": COUNT,
    "top_p": NUMBER,
    "user": TEXT,
    "verbosity": TEXT,
    "web_search_options": OBJECT,
}

_SAME = (
    "context",
    "custom_inputs",
    "metadata",
    "model",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "temperature",
    "top_p",
    "user",
)
"""Of one name and meaning in both APIs."""

_ONLY_CHAT = (
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "prediction",
    "presence_penalty",
    "seed",
    "stop",
    "store",
    "top_k",
    "top_logprobs",
    "web_search_options",
)
_CHAT_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "presence_penalty": (0,),
    "store": (False,),
}
_MODEL_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "max_completion_tokens": (),
    "max_tokens": (),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "temperature": (1,),
    "tool_choice": ("auto",),
    "tools": ([],),
    "top_p": (1,),
    "verbosity": (),
}
_ONLY_RESPONSES = frozenset({"context_management", "include", "max_tool_calls", "prompt", "top_logprobs", "truncation"})


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`body` is what a handler of the task `agent/v1/chat` is given: without `stream` and `stream_options`."""

    body: Json = field(repr=False)
    stream: bool = False
    include_usage: bool = False

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))


def parse_chat_request(body: Any) -> ChatRequest:  # noqa: ANN401 - any JSON
    """Raises `ApiError` with the `param` that is at fault."""
    if not isinstance(body, dict):
        raise refused("", "The body must be a JSON object with messages.")
    if "messages" not in body and "input" in body:
        raise refused("messages", "messages is missing. Requests with input go to /responses.")
    check_types(body, _PARAMETERS, unchecked="messages")
    check_messages(body.get("messages"))
    given = {name: value for name, value in body.items() if value is not None and not name.startswith("stream")}
    options = body.get("stream_options") or {}
    return ChatRequest(given, bool(body.get("stream")), bool(options.get("include_usage")))


def responses_request_of(chat: ChatRequest) -> ResponsesRequest:
    """The same for a handler of another task. Raises `ApiError` for what that API cannot say."""
    body = chat.body
    refuse_unless_default(body, _ONLY_CHAT, _CHAT_DEFAULTS)
    asked: Json = {name: body[name] for name in _SAME if name in body}
    if (most := body.get("max_completion_tokens", body.get("max_tokens"))) is not None:
        asked["max_output_tokens"] = most
    if "tools" in body:
        asked["tools"] = [_flat(tool) for tool in body["tools"]]
    if (choice := body.get("tool_choice")) is not None:
        asked["tool_choice"] = _flat(choice) if isinstance(choice, dict) else choice
    if "reasoning_effort" in body:
        asked["reasoning"] = {"effort": body["reasoning_effort"]}
    text = {"verbosity": body["verbosity"]} if "verbosity" in body else {}
    if (wanted := body.get("response_format")) is not None:
        text["format"] = _flat(wanted, "json_schema")
    if text:
        asked["text"] = text
    try:
        return parse_responses_request({**asked, "input": items_of_messages(body["messages"])})
    except ApiError as error:
        # The caller knows it by another name.
        error.param = (error.param or "").replace("text.format", "response_format", 1)
        raise


def refuse_chat_model_parameters(chat: ChatRequest) -> None:
    """As `refuse_unless_default` of a Responses request, by the names that chat completions have."""
    refuse_unless_default(chat.body, _MODEL_DEFAULTS.keys(), _MODEL_DEFAULTS)


def chat_body_of(request: ResponsesRequest) -> Json:
    """A Responses request for a handler of the task `agent/v1/chat`. Raises `ApiError` for what chat cannot say."""
    body = request.body
    refuse_unless_default(body, _ONLY_RESPONSES)
    asked: Json = {name: body[name] for name in _SAME if name in body}
    asked["messages"] = messages_of_items(request.input, request.instructions)
    if "max_output_tokens" in body:
        asked["max_tokens"] = body["max_output_tokens"]
    if "tools" in body:
        asked["tools"] = [_nested_function(tool, f"tools[{number}]") for number, tool in enumerate(body["tools"])]
    if (choice := body.get("tool_choice")) is not None:
        asked["tool_choice"] = _nested_function(choice, "tool_choice") if isinstance(choice, dict) else choice
    reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
    for name in reasoning.keys() - {"effort"}:
        if reasoning[name] is not None:
            raise refused(f"reasoning.{name}", f"This agent does not support reasoning.{name}.")
    if effort := reasoning.get("effort"):
        asked["reasoning_effort"] = effort
    if verbosity := text.get("verbosity"):
        asked["verbosity"] = verbosity
    if wanted := text.get("format"):
        asked["response_format"] = _nested(wanted, "json_schema") if wanted["type"] == "json_schema" else wanted
    return asked


def chat_agent_body_of(request: ResponsesRequest) -> Json:
    """For a handler of the task `agent/v2/chat`, which takes messages, `context` and `custom_inputs`."""
    refuse_unless_default(request.body, MODEL_PARAMETERS)
    asked: Json = {name: request.body[name] for name in ("context", "custom_inputs") if name in request.body}
    return {"messages": messages_of_items(request.input, request.instructions), **asked}


def _flat(value: Json, name: str = "function") -> Json:
    """`{"type": "function", "function": {...}}` of chat completions as the Responses API has it."""
    inner = value.get(name)
    return {"type": value.get("type", name), **inner} if isinstance(inner, dict) else value


def _nested(value: Json, name: str) -> Json:
    return {"type": name, name: {key: each for key, each in value.items() if key != "type"}}


def _nested_function(value: Json, place: str) -> Json:
    if value.get("type") != "function":
        raise refused(place, f"{place} must be of the type function for this agent.", code="unsupported_parameter")
    return _nested(value, "function")
