"""What a tool of an MCP server returned, as a tool's output. https://modelcontextprotocol.io/specification"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from app.models.model import Source
from app.tools.base import ToolError, ToolOutput

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock

_MAX_CHARACTERS = 200_000
_MAX_SOURCES = 50
_MAX_TITLE_CHARACTERS = 200
_MAX_ITEMS = 1000


def output_of(result: CallToolResult) -> ToolOutput:
    """Raises `ToolError` with what the server said of a failure."""
    parts: list[str] = []
    sources: list[Source] = []
    left = _MAX_CHARACTERS
    for item in result.content[:_MAX_ITEMS]:
        text = _text(item)[:left]
        left -= len(text)
        if text:
            parts.append(text)
        if source := _source(item):
            sources.append(source)
    if result.structured_content is not None and not _says(parts, result.structured_content):
        parts.append(json.dumps(result.structured_content, ensure_ascii=False)[: max(left, 0)])
    text = "\n".join(parts)
    if result.is_error:
        raise ToolError(text or "the server says no more than that")
    return ToolOutput(text or "(no output)", citations=tuple(sources[:_MAX_SOURCES]))


def _text(item: ContentBlock) -> str:
    match item.type:
        case "text":
            return item.text
        case "resource":
            return getattr(item.resource, "text", "") or f"[{item.resource.mime_type or 'A file'} was left out]"
        case "resource_link":
            return f"{item.title or item.name}: {item.description or ''}".rstrip(": ") + f" ({item.uri})"
        case _:
            return f"[An item of the kind {item.type} was left out]"


def _says(parts: Sequence[str], structured: object) -> bool:
    """Whether the texts say the same: servers should repeat it there, and many send a summary instead."""
    said = [_json(part) for part in parts]
    wrapped = structured
    if isinstance(structured, Mapping) and structured.keys() == {"result"}:
        # So the SDKs wrap what is no object.
        wrapped = structured["result"]
    return any(value in (structured, wrapped) for value in (*said, *parts, said, list(parts)))


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _source(item: ContentBlock) -> Source | None:
    """A link that a person can open."""
    if item.type != "resource_link" or not str(item.uri).startswith("https://"):
        return None
    return Source((item.title or item.name)[:_MAX_TITLE_CHARACTERS], str(item.uri))
