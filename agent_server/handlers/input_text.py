"""What a request's input items say, and the files that they name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_TEXT_PARTS = ("input_text", "output_text", "text")


def text_of(item: Mapping[str, Any]) -> str:
    """All text of a message."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict) and part.get("type") in _TEXT_PARTS)
    return "\n\n".join(text for text in texts if isinstance(text, str))


def question_of(items: Iterable[Mapping[str, Any]]) -> str:
    """The text of the last message of a user; empty where there is none."""
    return next((text_of(item) for item in reversed(list(items)) if item.get("role") == "user"), "")


def file_ids_of(item: Mapping[str, Any]) -> list[str]:
    """The ids of the files in a message."""
    content = item.get("content")
    parts = content if isinstance(content, list) else []
    return [
        str(part["file_id"])
        for part in parts
        if isinstance(part, dict) and part.get("type") == "input_file" and part.get("file_id")
    ]
