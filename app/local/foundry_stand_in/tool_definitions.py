"""The tools of an agent: which definitions the service refuses, and which models may use them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.local.foundry_stand_in.refusals import Json, RefusedError, invalid_payload
from app.local.foundry_stand_in.script import OfferedTool

_UNSUPPORTED = ("anyOf", "allOf", "$ref")
_SENSITIVE_HEADER = re.compile(r"authorization|.*-(?:secret|key|token)", re.IGNORECASE)

LISTED_MODELS: Mapping[str, frozenset[str]] = {
    "azure_function": frozenset({"gpt-5.1", "gpt-5.2"}),
    "function": frozenset(
        {"gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5.1", "gpt-5.2", "o3"}
    ),
    "mcp": frozenset(
        {"gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-mini", "gpt-5.1"}
        | {"gpt-5.2", "gpt-5.4", "gpt-5.4-mini", "gpt-5.5", "o3"}
    ),
}
"""The models that are listed for a kind of tool, of those that an agent of ours is likely to have.

https://learn.microsoft.com/azure/foundry/agents/concepts/tool-best-practice (March 2026)
"""


def check_tools(tools: Sequence[Json], *, standard_setup: bool) -> None:
    """Raises `RefusedError`."""
    for at, tool in enumerate(tools):
        kind = tool.get("type")
        if kind == "azure_function":
            if not standard_setup:
                raise RefusedError(
                    400,
                    None,
                    "Invalid tool value(s): azure_function. Use the Enterprise Standard offering to access these "
                    "tool(s).",
                )
            function = _part(tool, "azure_function", "function")
            for binding in ("input_binding", "output_binding"):
                queue = _part(tool, "azure_function", binding, "storage_queue")
                if not queue.get("queue_service_endpoint") or not queue.get("queue_name"):
                    raise invalid_payload(f"Required properties of {binding} are not present.", f"/tools/{at}")
            check_schema(function.get("name"), function.get("parameters"))
        elif kind == "function":
            check_schema(tool.get("name"), tool.get("parameters"))
        elif kind == "mcp":
            if not tool.get("server_label") or not tool.get("server_url"):
                raise invalid_payload("Required properties [server_label, server_url] are not present.", f"/tools/{at}")
            if any(_SENSITIVE_HEADER.fullmatch(name) for name in tool.get("headers") or ()):
                raise invalid_payload(
                    "Headers that can include sensitive information are not allowed in the headers property for MCP "
                    "tools. Use project_connection_id instead.",
                    f"/tools/{at}/headers",
                )
        else:
            raise invalid_payload(f"Invalid tool value(s): {kind}.", f"/tools/{at}/type")


def check_schema(name: object, schema: object) -> None:
    """Raises `RefusedError`."""
    if not isinstance(name, str) or not name:
        raise invalid_payload("A function needs a name.", "/tools")
    if fault := schema_fault(schema):
        raise invalid_payload(f"Invalid tool schema for: {name}. {fault}", "/tools")


def schema_fault(schema: object) -> str | None:
    if not isinstance(schema, dict) or schema.get("type") != "object" or "properties" not in schema:
        return "An object with properties is needed."
    found = next((key for key in _keys(schema) if key in _UNSUPPORTED), None)
    return f"'{found}' is not supported." if found else None


def check_models(tools: Sequence[Json], model: str) -> None:
    """Raises `RefusedError`."""
    for tool in tools:
        listed = LISTED_MODELS.get(str(tool.get("type")))
        if listed is not None and model not in listed:
            raise invalid_payload(f"Tool '{tool['type']}' is not supported with model '{model}'.", "/tools")


def offered_tools(tools: Iterable[Json]) -> Iterator[OfferedTool]:
    """The functions of `tools`; those of MCP servers are known when they have been listed."""
    for tool in tools:
        if tool["type"] == "azure_function":
            function = tool["azure_function"]["function"]
            parameters = function.get("parameters") or {}
            queue = tool["azure_function"]["output_binding"]["storage_queue"]
            uri = f"{queue['queue_service_endpoint'].rstrip('/')}/{queue['queue_name']}"
            fixed = {"outputqueueuri": uri} if "outputqueueuri" in parameters.get("properties", {}) else {}
            yield OfferedTool(function["name"], parameters, fixed)
        elif tool["type"] == "function":
            yield OfferedTool(tool["name"], tool.get("parameters") or {}, {})


def _part(tool: Mapping[str, Any], *names: str) -> Json:
    part: Any = tool
    for name in names:
        part = part.get(name) if isinstance(part, dict) else None
    if not isinstance(part, dict):
        raise invalid_payload(f'Required properties ["{"/".join(names)}"] are not present.', "/tools")
    return part


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
