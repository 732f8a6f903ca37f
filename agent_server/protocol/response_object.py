"""The Response object around the output: https://platform.openai.com/docs/api-reference/responses/object"""

from __future__ import annotations

from typing import Any

from agent_server.protocol.responses_request import ResponsesRequest

SERVED_MODEL = "agent"
"""The name of what is served, where a request names none; `GET /models` lists it."""

_ECHOED = (
    "background",
    "include",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "text",
    "top_logprobs",
    "truncation",
    "user",
)
_TAKEN_FROM_HANDLER = ("custom_outputs", "metadata", "model")


def new_response(response_id: str, created_at: float, request: ResponsesRequest) -> dict[str, Any]:
    """Without `status` and `output`. What openai's types require is always there; `usage` is where it is known: clients
    refuse it as null.
    """
    body = request.body
    response: dict[str, Any] = {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "model": request.model or SERVED_MODEL,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions or None,
        "metadata": body.get("metadata") or {},
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "temperature": body.get("temperature"),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p"),
    }
    response.update({name: body[name] for name in _ECHOED if name in body})
    if request.conversation_id:
        response["conversation"] = {"id": request.conversation_id}
    if request.store is not None:
        response["store"] = request.store
    return response


def take_from_handler(response: dict[str, Any], said: dict[str, Any]) -> None:
    """What a handler's own Response object adds to ours."""
    for name in _TAKEN_FROM_HANDLER:
        if (value := said.get(name)) and isinstance(value, type(response.get(name, value))):
            merged = isinstance(value, dict)
            response[name] = {**response.get(name, {}), **value} if merged else value
    if usage := responses_usage(said.get("usage")):
        response["usage"] = usage


def responses_usage(usage: Any) -> dict[str, Any] | None:  # noqa: ANN401 - any JSON
    """Of the usage of either API, all fields that openai's types require. None for anything else."""
    if not isinstance(usage, dict):
        return None
    read = _tokens(usage, "input_tokens", "prompt_tokens")
    written = _tokens(usage, "output_tokens", "completion_tokens")
    total = _tokens(usage, "total_tokens") or read + written
    if not total:
        return None
    return {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            **_details(usage, "input_tokens_details", "prompt_tokens_details"),
        },
        "output_tokens": written,
        "output_tokens_details": {
            "reasoning_tokens": 0,
            **_details(usage, "output_tokens_details", "completion_tokens_details"),
        },
        "total_tokens": total,
    }


def _tokens(usage: dict[str, Any], *names: str) -> int:
    found = (usage.get(name) for name in names)
    return next((value for value in found if isinstance(value, int) and value > 0), 0)


def _details(usage: dict[str, Any], *names: str) -> dict[str, int]:
    found = (usage.get(name) for name in names)
    details = next((value for value in found if isinstance(value, dict)), {})
    return {name: value for name, value in details.items() if isinstance(value, int)}
