"""Messages of chat completions as items of the Responses API, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from agent_server.protocol.request_parameters import refused

Json = dict[str, Any]

_ROLES = ("system", "developer", "user", "assistant", "tool")
_MAX_MESSAGES = 10_000


def check_messages(messages: Any) -> None:  # noqa: ANN401 - any JSON
    """Raises `ApiError` with the place at fault."""
    if not isinstance(messages, list) or not messages:
        raise refused("messages", "messages must be a list of at least one message with role and content.")
    if len(messages) > _MAX_MESSAGES:
        raise refused("messages", f"There are more than {_MAX_MESSAGES} messages.")
    for number, message in enumerate(messages):
        _check_message(message, f"messages[{number}]")


def _check_message(message: Any, place: str) -> None:  # noqa: ANN401 - any JSON
    if not isinstance(message, dict):
        raise refused(place, f"{place} must be an object with role and content.")
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls")
    if role not in _ROLES:
        raise refused(f"{place}.role", f"{place}.role must be one of {', '.join(_ROLES)}.")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise refused(f"{place}.tool_call_id", f"{place} of the role tool needs the tool_call_id that it answers.")
    if calls is not None:
        for number, call in enumerate(calls if role == "assistant" and isinstance(calls, list) else [None]):
            _check_call(call, f"{place}.tool_calls[{number}]")
    if content is None and role == "assistant" and (calls or message.get("refusal")):
        return
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        raise refused(f"{place}.content", f"{place}.content must be a string, or a list of at least one part.")
    for number, part in enumerate(content):
        if _part_as_input(part) is None:
            where = f"{place}.content[{number}]"
            raise refused(f"{where}.type", f"{where} must be an object of one of the types text, image_url and file.")


def _check_call(call: Any, place: str) -> None:  # noqa: ANN401 - any JSON
    if not isinstance(call, dict) or not isinstance(call.get("id"), str):
        raise refused(place, f"{place} must be an object with an id.")
    kind, said = ("custom", "input") if call.get("type") == "custom" else ("function", "arguments")
    called = call.get(kind)
    if not isinstance(called, dict) or not all(isinstance(called.get(name), str) for name in ("name", said)):
        raise refused(place, f"{place} must have a {kind} with name and {said}.")


def _part_as_input(part: Any) -> Json | None:  # noqa: ANN401 - any JSON
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "input_text", "text": part["text"]}
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return {"type": "refusal", "refusal": part["refusal"]}
    if kind == "image_url" and isinstance(image := part.get("image_url"), dict) and isinstance(image.get("url"), str):
        return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail") or "auto"}
    if kind == "file" and isinstance(file := part.get("file"), dict) and (file.keys() & {"file_id", "file_data"}):
        return {"type": "input_file", **file}
    return None


def items_of_messages(messages: Iterable[Json]) -> list[Json]:
    """`messages` have been checked."""
    return [item for message in messages for item in _items_of_message(message)]


def _items_of_message(message: Json) -> Iterable[Json]:
    role, content = message["role"], message.get("content")
    if role == "tool":
        parts = [_part_as_input(part) for part in content] if isinstance(content, list) else content
        yield {"type": "function_call_output", "call_id": message["tool_call_id"], "output": parts}
        return
    said = content or message.get("refusal")
    if said and role == "assistant":
        yield {"type": "message", "role": role, "content": text_of_content(said)}
    elif role != "assistant":
        parts = content if isinstance(content, str) else [_part_as_input(part) for part in content or ()]
        yield {"type": "message", "role": role, "content": parts}
    for call in message.get("tool_calls") or ():
        kind = "custom" if call.get("type") == "custom" else "function"
        item_type, said = ("custom_tool_call", "input") if kind == "custom" else ("function_call", "arguments")
        called = call[kind]
        yield {"type": item_type, "call_id": call["id"], "name": called["name"], said: called[said]}


def messages_of_items(items: Iterable[Json], instructions: str = "") -> list[Json]:
    """What only the Responses API knows of a history (reasoning, calls that a server made) is left out. Raises
    `ApiError` for an approval: these handlers never ask for one.
    """
    messages: list[Json] = [{"role": "system", "content": instructions}] if instructions else []
    names: dict[str, str] = {}
    for number, item in enumerate(items):
        match item["type"]:
            case "message":
                messages.append({"role": item["role"], "content": _content_of_parts(item["content"])})
            case "function_call" | "custom_tool_call":
                names[item["call_id"]] = item["name"]
                if not messages or messages[-1]["role"] != "assistant":
                    messages.append({"role": "assistant", "content": None})
                messages[-1].setdefault("tool_calls", []).append(tool_call(item))
            case "function_call_output" | "custom_tool_call_output":
                output = _content_of_parts(item["output"])
                answered = {"tool_call_id": item["call_id"], "name": names.get(item["call_id"], "tool")}
                messages.append({"role": "tool", "content": output, **answered})
            case "mcp_approval_response":
                raise refused(f"input[{number}]", "This agent asks for no approvals.")
    return messages


def tool_call(item: Json) -> Json:
    """A `function_call` or `custom_tool_call` item as chat completions have it."""
    if item["type"] == "custom_tool_call":
        return {"id": item["call_id"], "type": "custom", "custom": {"name": item["name"], "input": item["input"]}}
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _content_of_parts(content: Any) -> Any:  # noqa: ANN401 - a string or a list of parts
    """A string wherever there is nothing but text: what most models' endpoints take."""
    if isinstance(content, str):
        return content
    if all(part.get("type") in ("input_text", "output_text", "refusal") for part in content):
        return text_of_content(content)
    parts: list[Json] = []
    for part in content:
        match part.get("type"):
            case "input_image":
                image = {"url": part.get("image_url"), "detail": part.get("detail") or "auto"}
                parts.append({"type": "image_url", "image_url": image})
            case "input_file":
                parts.append({"type": "file", "file": {k: v for k, v in part.items() if k != "type"}})
            case _:
                parts.append({"type": "text", "text": text_of_content([part])})
    return parts


def text_of_content(content: Any) -> str:  # noqa: ANN401 - any JSON
    """All text of a string or of parts of either API; other JSON as it is."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text", part.get("refusal")) if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        return json.dumps(content, ensure_ascii=False)
    return "".join(map(str, texts))
