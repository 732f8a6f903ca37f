"""What requests and answers of each task look like, as JSON Schemas for `/agent/info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_server.protocol.task import Task

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_OBJECT: Schema = {"type": "object"}
_CONTEXT: Schema = {"type": "object", "properties": {"conversation_id": _TEXT, "user_id": _TEXT}}
_MESSAGES: Schema = {
    "type": "array",
    "items": {"type": "object", "properties": {"role": _TEXT, "content": {}}, "required": ["role"]},
}


def _object(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


_RESPONSES_REQUEST = _object(
    ["input"],
    input={"anyOf": [_TEXT, {"type": "array", "items": _OBJECT}]},
    stream={"type": "boolean"},
    background={"type": "boolean"},
    store={"type": "boolean"},
    previous_response_id=_TEXT,
    conversation={"anyOf": [_TEXT, _object(["id"], id=_TEXT)]},
    instructions=_TEXT,
    metadata=_OBJECT,
    context=_CONTEXT,
    custom_inputs=_OBJECT,
)
_RESPONSE = _object(
    ["id", "object", "status", "output"],
    id=_TEXT,
    object={"const": "response"},
    status={"enum": ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]},
    output={"type": "array", "items": _OBJECT},
    usage={"type": ["object", "null"]},
    error={"type": ["object", "null"]},
    custom_outputs=_OBJECT,
)
_CHAT_REQUEST = _object(
    ["messages"],
    messages=_MESSAGES,
    stream={"type": "boolean"},
    context=_CONTEXT,
    custom_inputs=_OBJECT,
)
_COMPLETION = _object(
    ["choices"], id=_TEXT, object={"const": "chat.completion"}, choices={"type": "array", "items": _OBJECT}
)
_CHAT_AGENT_ANSWER = _object(["messages"], messages=_MESSAGES, custom_outputs=_OBJECT, usage=_OBJECT)

_SCHEMAS: Mapping[Task, tuple[Schema, Schema]] = {
    Task.RESPONSES: (_RESPONSES_REQUEST, _RESPONSE),
    Task.CHAT: (_CHAT_REQUEST, _COMPLETION),
    Task.CHAT_AGENT: (_CHAT_REQUEST, _CHAT_AGENT_ANSWER),
    Task.NONE: (_OBJECT, _OBJECT),
}


def task_schemas(task: Task) -> tuple[Schema, Schema]:
    """Of a request to `/invocations`, and of its answer in one piece."""
    return _SCHEMAS[task]
