"""What goes to a tool's output queue, and what is left of a value that is too long for it."""

from __future__ import annotations

import json
from typing import Final

from app.common.text import replace_lone_surrogates
from app.foundry.requests.tool_request import exact_json
from app.foundry.tools.answer_markdown import SOURCES_HEADING
from app.storage.queue import MAX_QUEUE_MESSAGE_BYTES

MAX_CORRELATION_ID_BYTES: Final = 8 * 1024
"""As JSON. A longer one would leave too little room for the value."""

SHORTENED: Final = "\n\n[The answer is longer than a queue message and was cut here.]"
SHORTENED_WITH_LINK: Final = (
    "\n\n[The answer is longer than a queue message and was cut here. All of it, for an hour: {link}]"
)
_FENCE: Final = "```"
_MAX_SOURCES_BYTES: Final = 8 * 1024


def output_message(value: str, correlation_id: str) -> str:
    """https://learn.microsoft.com/azure/ai-foundry/agents/how-to/tools/azure-functions"""
    return f'{{"Value": {_json(value)}, "CorrelationId": {exact_json(correlation_id)}}}'


def fits(value: str, correlation_id: str) -> bool:
    return len(output_message(value, correlation_id).encode()) <= MAX_QUEUE_MESSAGE_BYTES


def shortened(value: str, correlation_id: str, note: str = SHORTENED) -> str:
    """The longest beginning of whole lines that fits with the note, or of characters where a line is too long. The
    list of sources stays.
    """
    text, sources = _without_sources(value)
    note += sources
    # Room for the end of a block of code too.
    room = MAX_QUEUE_MESSAGE_BYTES - len(output_message(f"\n{_FENCE}{note}", correlation_id).encode())
    kept = _beginning(replace_lone_surrogates(text), room)
    line = kept.rfind("\n")
    # A line that takes more than half of the room is cut rather than left out.
    if line > len(kept) // 2:
        kept = kept[:line]
    if _ends_in_code(kept):
        kept += f"\n{_FENCE}"
    return f"{kept}{note}"


def _without_sources(value: str) -> tuple[str, str]:
    """Several lists, of several questions, are no longer clear without all of their texts: they are left where they
    are, and so is a long one.
    """
    text, mark, sources = value.rpartition(f"\n\n{SOURCES_HEADING}\n")
    if not mark or mark in text or len(_json(sources).encode()) > _MAX_SOURCES_BYTES:
        return value, ""
    return text, f"{mark}{sources}"


def _beginning(value: str, room: int) -> str:
    """As many characters as take at most `room` bytes in JSON."""
    low, high = 0, min(len(value), room)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_json(value[:middle]).encode()) - 2 <= room:
            low = middle
        else:
            high = middle - 1
    return value[:low]


def _ends_in_code(text: str) -> bool:
    return sum(line.lstrip().startswith(_FENCE) for line in text.split("\n")) % 2 == 1


def _json(value: str) -> str:
    return json.dumps(replace_lone_surrogates(value), ensure_ascii=False)
