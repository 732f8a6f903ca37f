"""The messages on a function's queues: those of Azure AI Foundry's queue tool, from the other end.

https://learn.microsoft.com/azure/ai-foundry/agents/how-to/tools/azure-functions
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.common.text import replace_lone_surrogates
from app.storage.queue_encoding import UnreadableContentError, decode_message

MAX_VALUE_CHARACTERS = 30_000
_MAX_ID_CHARACTERS = 200
# They say nothing, and are six characters each in the JSON of a row.
_CONTROLS = dict.fromkeys(set(range(32)) - {9, 10, 13}, " ")
_LEFT_OUT = "\n[The rest, {characters} characters, was left out.]"


@dataclass(frozen=True, slots=True)
class FunctionAnswer:
    """`value` is text, at most `MAX_VALUE_CHARACTERS` and a note; what was no text is JSON."""

    correlation_id: str
    value: str


class UnreadableAnswerError(ValueError):
    """`str()` says what the message lacks, and quotes nothing of it."""


def question(arguments: Mapping[str, Any], correlation_id: str, *, nested: bool = True, traceparent: str = "") -> str:
    """Arguments that are not `nested` stand beside the correlation id, as classic agents send them. A function may
    continue the trace: queues have no headers, so `traceparent` stands beside them too.
    """
    body = {**({"function_args": arguments} if nested else arguments), "CorrelationId": correlation_id}
    if traceparent:
        body["traceparent"] = traceparent
    return replace_lone_surrogates(json.dumps(body, ensure_ascii=False))


def read_answer(content: str) -> FunctionAnswer:
    """`content` is as on the queue. Names count in any case, as serializers write them. Raises `UnreadableAnswerError`.

    A binding that gets a text which is JSON already may write it as a text in JSON, and one that gets base64 may encode
    it again: https://github.com/Azure/azure-functions-host/issues/3886.
    """
    fields = _object(content)
    named = {name.lower(): value for name, value in reversed(fields.items())}
    correlation_id = named.get("correlationid")
    if not isinstance(correlation_id, str) or not (correlation_id := correlation_id.strip()):
        raise UnreadableAnswerError("no CorrelationId")
    if len(correlation_id) > _MAX_ID_CHARACTERS:
        raise UnreadableAnswerError("a CorrelationId that is too long")
    # Storage may refuse a key with NUL or half a surrogate pair, and the message would come again for days.
    if not correlation_id.isascii() or not correlation_id.isprintable():
        raise UnreadableAnswerError("a CorrelationId with characters that none of ours has")
    if "value" not in named:
        raise UnreadableAnswerError("no Value")
    try:
        value = _text(named["value"])
    except RecursionError:
        raise UnreadableAnswerError("a Value that is nested too deeply") from None
    return FunctionAnswer(correlation_id, _shortened(value))


def _object(content: str) -> dict[str, Any]:
    text = content
    for _ in range(4):
        text = text.lstrip("\ufeff \t\r\n")
        try:
            read = json.loads(text, strict=False) if text.startswith(("{", "[", '"')) else None
        except (ValueError, RecursionError):
            raise UnreadableAnswerError("no JSON") from None
        if isinstance(read, dict):
            return read
        try:
            text = read if isinstance(read, str) else decode_message(text)
        except UnreadableContentError:
            raise UnreadableAnswerError("neither JSON nor base64 of it") from None
    raise UnreadableAnswerError("no JSON object")


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shortened(text: str) -> str:
    text = replace_lone_surrogates(text).translate(_CONTROLS)
    left_out = len(text) - MAX_VALUE_CHARACTERS
    return text if left_out <= 0 else text[:MAX_VALUE_CHARACTERS] + _LEFT_OUT.format(characters=left_out)
