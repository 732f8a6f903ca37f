"""Tools as MCP lists them, and results of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mcp.types import CallToolResult, TextContent, Tool, ToolAnnotations

from app.common.text import replace_lone_surrogates


def object_schema(properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def listed_tool(
    name: str,
    title: str,
    description: str,
    schema: Mapping[str, Any],
    *,
    reads_only: bool = True,
    open_world: bool | None = None,
) -> Tool:
    """`open_world`: it reaches what nobody here knows, as a search of the web does; None where that is not said."""
    return Tool(
        name=name,
        title=title or None,
        description=description,
        input_schema=dict(schema),
        # Some clients take a tool for destructive where nothing is said, also one that only reads:
        # https://github.com/apollographql/apollo-mcp-server/pull/510
        annotations=ToolAnnotations(
            read_only_hint=reads_only, destructive_hint=False if reads_only else None, open_world_hint=open_world
        ),
    )


def text_result(text: str, *, failed: bool = False) -> CallToolResult:
    # Half a surrogate pair cannot be written as UTF-8.
    return CallToolResult(content=[TextContent(text=replace_lone_surrogates(text))], is_error=failed)
