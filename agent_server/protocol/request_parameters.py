"""The parameters of a Responses request: of which type each is, and what asks for nothing.

https://platform.openai.com/docs/api-reference/responses/create; `custom_inputs` and `context` are of MLflow's
ResponsesAgent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from agent_server.protocol.api_error import ApiError

MAX_ID_CHARACTERS = 200
_MAX_METADATA = 16
_MAX_METADATA_KEY_CHARACTERS = 64
_MAX_METADATA_VALUE_CHARACTERS = 512


def refused(param: str, sentence: str, *, code: str | None = None) -> ApiError:
    return ApiError(400, sentence, code=code, param=param)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARACTERS


def _is_metadata(value: object) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= _MAX_METADATA
        and all(
            isinstance(each, str)
            and len(key) <= _MAX_METADATA_KEY_CHARACTERS
            and len(each) <= _MAX_METADATA_VALUE_CHARACTERS
            for key, each in value.items()
        )
    )


def _is_conversation(value: object) -> bool:
    return _is_id(value.get("id") if isinstance(value, dict) else value)


def _is_context(value: object) -> bool:
    names = {"conversation_id", "user_id"}
    return isinstance(value, dict) and value.keys() <= names and all(v is None or _is_id(v) for v in value.values())


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _is_object_or_word(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, str) and bool(value))


Check = tuple[Callable[[Any], bool], str]
"""Whether a value is right, and what it must be."""

TEXT: Check = (lambda value: isinstance(value, str), "a string")
FLAG = (lambda value: isinstance(value, bool), "true or false")
NUMBER = (_is_number, "a number")
COUNT = (_is_count, "a whole number")
OBJECT = (lambda value: isinstance(value, dict), "an object")
OBJECTS = (_is_list_of_objects, "a list of objects")
TEXTS = (lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value), "a list of strings")
ID = (_is_id, f"an id of at most {MAX_ID_CHARACTERS} characters")

CONTEXT: Check = (_is_context, "an object with conversation_id and user_id, each an id or left out")
METADATA: Check = (
    _is_metadata,
    f"an object of at most {_MAX_METADATA} strings, with keys of at most {_MAX_METADATA_KEY_CHARACTERS} characters"
    f" and values of at most {_MAX_METADATA_VALUE_CHARACTERS}",
)
TOOL_CHOICE: Check = (_is_object_or_word, "none, auto, required, or an object")

_PARAMETERS: Mapping[str, Check] = {
    "background": FLAG,
    "context": CONTEXT,
    "context_management": OBJECTS,
    "conversation": (_is_conversation, "the id of a conversation, or an object with its id"),
    "custom_inputs": OBJECT,
    "include": TEXTS,
    "instructions": TEXT,
    "max_output_tokens": COUNT,
    "max_tool_calls": COUNT,
    "metadata": METADATA,
    "model": TEXT,
    "parallel_tool_calls": FLAG,
    "previous_response_id": ID,
    "prompt": OBJECT,
    "prompt_cache_key": TEXT,
    "prompt_cache_options": OBJECT,
    "prompt_cache_retention": TEXT,
    "reasoning": OBJECT,
    "safety_identifier": TEXT,
    "service_tier": TEXT,
    "store": FLAG,
    "stream": FLAG,
    "stream_options": OBJECT,
    "temperature": NUMBER,
    "text": OBJECT,
    "tool_choice": TOOL_CHOICE,
    "tools": OBJECTS,
    "top_logprobs": COUNT,
    "top_p": NUMBER,
    "truncation": (lambda value: value in ("auto", "disabled"), "auto or disabled"),
    "user": TEXT,
}

# Clients send these of their own accord.
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "context_management": ([],),
    "include": ([],),
    "instructions": ("",),
    "parallel_tool_calls": (True,),
    "reasoning": ({},),
    "service_tier": ("auto", "default"),
    "temperature": (1,),
    "text": ({}, {"format": {"type": "text"}}),
    "tool_choice": ("auto",),
    "tools": ([],),
    "top_logprobs": (0,),
    "top_p": (1,),
    "truncation": ("disabled",),
}

MODEL_PARAMETERS = frozenset(
    {
        "context_management",
        "include",
        "max_output_tokens",
        "max_tool_calls",
        "prompt",
        "reasoning",
        "service_tier",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
    }
)
"""What only a handler that passes it on to a model can honour: any other refuses it with `refuse_unless_default`."""


def check_parameters(body: Mapping[str, Any]) -> None:
    """All but `input`. Raises `ApiError` for one of another type, or that is none."""
    check_types(body, _PARAMETERS, unchecked="input")
    _check_text_format(body.get("text"))


def check_types(body: Mapping[str, Any], known: Mapping[str, Check], *, unchecked: str) -> None:
    """Of any API. null is taken for left out. Raises `ApiError`."""
    for name, value in body.items():
        if name == unchecked:
            continue
        if name not in known:
            raise refused(
                name,
                f"{name[:80]!r} is no parameter of this request. What an agent needs beside goes into custom_inputs.",
                code="unknown_parameter",
            )
        is_valid, what = known[name]
        if value is not None and not is_valid(value):
            raise refused(name, f"{name} must be {what}.", code="invalid_type")
    if (body.get("stream_options") or {}).get("include_obfuscation"):
        raise refused("stream_options.include_obfuscation", "This server does not obfuscate streams.")


def _check_text_format(text: Any) -> None:  # noqa: ANN401 - any JSON
    wanted = (text or {}).get("format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise refused("text.format", "text.format must be an object with the type text, json_object or json_schema.")
    if kind == "json_schema" and not isinstance(wanted.get("schema"), dict):
        raise refused("text.format.schema", "text.format of the type json_schema needs a schema.")


def refuse_unless_default(
    body: Mapping[str, Any],
    names: Collection[str] = MODEL_PARAMETERS,
    defaults: Mapping[str, tuple[Any, ...]] = _DEFAULTS,
) -> None:
    """Raises `ApiError` for the first of `names` that asks for something: what is not honoured is not ignored."""
    for name in sorted(body.keys() & names):
        value = body[name]
        if value is not None and value not in defaults.get(name, ()):
            raise refused(name, f"This agent does not support {name}.", code="unsupported_parameter")
