"""What the stand-in's agents decide, by script: they call a tool with what the user wrote, and repeat what it said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_TEXT_ARGUMENTS = ("query", "question", "input", "text", "message")
_PARTS = re.compile(r"^\d{1,2}[.)] +(\S.*)$", re.MULTILINE)
_SMALL_TALK = re.compile(r"^(hello|hi|thanks|thank you)\b", re.IGNORECASE)
_GET_RESULT = "get_result"
_WORD = re.compile(r"[\w-]+")
_HANDLE = re.compile(r"\bget_result with the handle (\S+)")
_OUTPUTS = {"function_call_output", "azure_function_call_output", "mcp_call"}


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """`fixed` are values of parameters that the model is told to fill in."""

    name: str
    parameters: Mapping[str, Any]
    fixed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ChosenCall:
    name: str
    arguments: dict[str, Any]


def next_step(tools: Sequence[OfferedTool], items: Sequence[Mapping[str, Any]]) -> str | list[ChosenCall]:
    """The text of the answer, or the calls to make. `items` are the conversation's, in the format of Responses.

    A text that is a JSON object is taken for the arguments. Numbered lines are questions of their own: they go into
    `queries` where the tool has that parameter, else each of them is a call. A tool whose name the text says comes
    before the first one.
    """
    last = max((at for at, item in enumerate(items) if item.get("role") == "user"), default=-1)
    text = text_of(items[last]) if last >= 0 else ""
    outputs = [said for item in items[last + 1 :] if (said := _output(item)) is not None]
    if outputs and (handle := _HANDLE.search(outputs[-1])) and any(tool.name == _GET_RESULT for tool in tools):
        return [ChosenCall(_GET_RESULT, {"handle": handle[1]})]
    if outputs:
        return "\n\n".join(outputs if not _waited(items[last + 1 :]) else outputs[-1:])
    if any(item.get("type") == "mcp_approval_response" for item in items[last + 1 :]):
        return "The call was not approved."
    if not tools or _SMALL_TALK.match(text):
        return f"This is what you said: {text}"
    first = next((tool for tool in tools if tool.name != _GET_RESULT), tools[0])
    words = frozenset(_WORD.findall(text))
    tool = next((tool for tool in tools if tool.name in words), first)
    parts = _PARTS.findall(text)
    if len(parts) > 1 and "queries" not in _properties(tool):
        return [ChosenCall(tool.name, _arguments(tool, part)) for part in parts]
    return [ChosenCall(tool.name, _arguments(tool, text))]


def _waited(items: Sequence[Mapping[str, Any]]) -> bool:
    return any(item.get("name") == _GET_RESULT for item in items)


def text_of(item: Mapping[str, Any]) -> str:
    content = item.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(str(part.get("text", "")) for part in content)


def _output(item: Mapping[str, Any]) -> str | None:
    if item.get("type") not in _OUTPUTS:
        return None
    output = item.get("output")
    if output is None:
        return f"The tool failed: {item.get('error')}"
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def _properties(tool: OfferedTool) -> Mapping[str, Any]:
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    return properties


def _arguments(tool: OfferedTool, text: str) -> dict[str, Any]:
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if isinstance(given, dict):
        return given
    properties = _properties(tool)
    parts = _PARTS.findall(text)
    if len(parts) > 1 and "queries" in properties:
        return {"queries": parts, **tool.fixed}
    required = [name for name in tool.parameters.get("required") or () if name in properties]
    texts = [name for name in (*_TEXT_ARGUMENTS, *required, *properties) if _is_text(properties.get(name))]
    arguments: dict[str, Any] = {name: _value(properties[name]) for name in required}
    arguments |= {texts[0]: text} if texts else {}
    return arguments | dict(tool.fixed)


def _is_text(schema: object) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "string" and "enum" not in schema


def _value(schema: Mapping[str, Any]) -> object:
    if schema.get("enum"):
        return schema["enum"][0]
    return {"integer": 1, "number": 1, "boolean": False, "array": [], "object": {}}.get(str(schema.get("type")), "")
