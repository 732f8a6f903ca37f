"""What handlers yield, read: items with the fields that openai's types require."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agent_server.protocol.output_item import PARTS

Json = dict[str, Any]

_CALLS = ("function_call", "custom_tool_call")
_CALL_OUTPUTS = ("function_call_output", "custom_tool_call_output")


class HandlerEventError(ValueError):
    """A handler yielded what is no event of the Responses API. The message is a sentence for its author."""


def read_item(item: object) -> Json:
    """A copy. Raises `HandlerEventError`."""
    if not isinstance(item, dict) or not isinstance(item.get("type"), str) or not item["type"]:
        raise HandlerEventError("An item of the output must be an object with a type, for example message.")
    read = {name: value for name, value in item.items() if name != "id" or isinstance(value, str)}
    kind = item["type"]
    if kind == "message" and read.setdefault("role", "assistant") != "assistant":
        raise HandlerEventError("A message of the output has the role assistant: what was asked is not repeated.")
    if kind in _CALLS:
        read.setdefault("call_id", read.get("id"))
        _require_text(read, "call_id", "name")
    if kind in _CALL_OUTPUTS:
        _require_text(read, "call_id")
        read["output"] = _as_text(read.get("output"), also=list)
    if kind in ("mcp_call", "mcp_approval_request"):
        _require_text(read, "name")
        read.setdefault("server_label", "agent")
    if kind in ("function_call", "mcp_call", "mcp_approval_request"):
        read["arguments"] = _as_text(read.get("arguments", "{}"))
    return read


def _require_text(item: Json, *names: str) -> None:
    for name in names:
        if not isinstance(item.get(name), str) or not item[name]:
            raise HandlerEventError(f"An item of the type {item['type']} needs a {name}.")


def _as_text(value: object, also: type = str) -> Any:  # noqa: ANN401 - any JSON
    return value if isinstance(value, str | also) else json.dumps(value, ensure_ascii=False, default=str)


def text_of(item: Json) -> str:
    """All text of a whole message or reasoning item."""
    found = []
    for parts in (item.get("content"), item.get("summary")):
        if isinstance(parts, str):
            found.append(parts)
        for part in parts if isinstance(parts, list) else ():
            kind = PARTS.get(str(part.get("type"))) if isinstance(part, dict) else None
            if kind is not None:
                found.append(str(part.get(kind.text_name) or ""))
    return "".join(found)


def text_field(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str):
        raise HandlerEventError(f"An event of the type {event.get('type')} needs a {name} that is a string.")
    return value


def number_field(event: Mapping[str, Any], name: str) -> int | None:
    value = event.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
