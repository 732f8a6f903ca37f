"""The input items of a Responses request: https://platform.openai.com/docs/api-reference/responses/create"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent_server.protocol.request_parameters import refused

_MAX_ITEMS = 10_000
_ROLES = ("user", "assistant", "system", "developer")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _is_text_or_objects(value: object) -> bool:
    return isinstance(value, str) or _is_objects(value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


_CALL = {"call_id": _is_text, "name": _is_text}
# Each known type with the fields that it cannot do without. What other services' tools did stands in histories.
_ITEMS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "message": {},
    "function_call": {**_CALL, "arguments": _is_text},
    "function_call_output": {"call_id": _is_text, "output": _is_text_or_objects},
    "custom_tool_call": {**_CALL, "input": _is_text},
    "custom_tool_call_output": {"call_id": _is_text, "output": _is_text_or_objects},
    "reasoning": {"summary": _is_objects},
    "mcp_approval_request": {"id": _is_text, "name": _is_text, "arguments": _is_text},
    "mcp_approval_response": {"approval_request_id": _is_text, "approve": _is_flag},
    "mcp_call": {"name": _is_text, "arguments": _is_text},
    "mcp_list_tools": {"tools": _is_objects},
    "code_interpreter_call": {},
    "computer_call": {},
    "computer_call_output": {},
    "file_search_call": {},
    "image_generation_call": {},
    "local_shell_call": {},
    "local_shell_call_output": {},
    "web_search_call": {},
}
_PARTS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "input_text": {"text": _is_text},
    "output_text": {"text": _is_text},
    "refusal": {"refusal": _is_text},
    "input_image": {},
    "input_file": {},
}


def read_input(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON
    """All items with their type; a string is one message of the user. Raises `ApiError` with the place at fault."""
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise refused("input", "input must be a string, or a list of at least one item.")
    if len(value) > _MAX_ITEMS:
        raise refused("input", f"input has more than {_MAX_ITEMS} items.")
    return [_read_item(item, f"input[{number}]") for number, item in enumerate(value)]


def _read_item(item: Any, place: str) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    if not isinstance(item, dict):
        raise refused(place, f"{place} must be an object, for example a message with role and content.")
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind == "item_reference" or (kind is None and item.keys() == {"id"}):
        raise refused(
            place, "References to items are not supported: send the item itself, or previous_response_id.",
            code="unsupported_parameter",
        )  # fmt: skip
    fields = _ITEMS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise refused(f"{place}.type", f"{place} is of an unknown type. Known are: {', '.join(_ITEMS)}.")
    _check_fields(item, fields, place)
    if kind == "message":
        return {**item, "type": "message", "content": _read_content(item, place)}
    return item


def _check_fields(item: dict[str, Any], fields: Mapping[str, Callable[[object], bool]], place: str) -> None:
    for name, is_valid in fields.items():
        if not is_valid(item.get(name)):
            raise refused(f"{place}.{name}", f"{place} of the type {item['type']} needs a valid {name}.")


def _read_content(item: dict[str, Any], place: str) -> Any:  # noqa: ANN401 - a string or a list of parts
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        others = " The result of a tool is an item of the type function_call_output." if role == "tool" else ""
        raise refused(f"{place}.role", f"{place}.role must be one of {', '.join(_ROLES)}.{others}")
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise refused(f"{place}.content", f"{place}.content must be a string, or a list of at least one part.")
    for number, part in enumerate(content):
        _check_part(part, f"{place}.content[{number}]")
    return content


def _check_part(part: Any, place: str) -> None:  # noqa: ANN401 - any JSON
    kind = part.get("type") if isinstance(part, dict) else None
    fields = _PARTS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        raise refused(f"{place}.type", f"{place} must be an object of one of the types {', '.join(_PARTS)}.")
    _check_fields(part, fields, place)
    if kind == "input_file" and not any(_is_text(part.get(name)) for name in ("file_id", "file_data", "file_url")):
        raise refused(place, f"{place} of the type input_file needs file_id, file_data or file_url.")
    if kind == "input_image" and not any(_is_text(part.get(name)) for name in ("image_url", "file_id")):
        raise refused(place, f"{place} of the type input_image needs image_url or file_id.")
