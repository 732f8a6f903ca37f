"""A conversation as a file. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from agent_server.page.conversation_json import conversation_json
from agent_server.page.conversations import Conversation, ConversationTurn
from agent_server.protocol.agent_event_items import BLOCKS_ID_PREFIX
from app.common.iso_time import iso_time
from app.content.block_json import BlocksUnreadableError, blocks_from_json
from app.content.block_markdown import block_markdown
from app.content.data_text import as_data, one_line

_UNSAFE_IN_FILE_NAMES = re.compile(r"[^\w .,()-]+")
_MAX_FILE_NAME_CHARACTERS = 80
_RATINGS = {"up": "thumbs up", "down": "thumbs down"}
_ENDS = {
    "queued": "*This answer had not begun when the file was made.*",
    "in_progress": "*This answer was still being written when the file was made.*",
    "incomplete": "*This answer is not complete.*",
    "cancelled": "*This answer was stopped.*",
}


def markdown_export(conversation: Conversation) -> str:
    record = conversation.record
    parts = [f"# {as_data(record.title) or 'Conversation'}", f"Begun {iso_time(record.created_at)}."]
    for turn in conversation.turns:
        parts += _turn_parts(turn)
    return "\n\n".join(parts) + "\n"


def json_export(conversation: Conversation) -> str:
    return json.dumps({"version": 1, **conversation_json(conversation)}, ensure_ascii=False, indent=2) + "\n"


def content_disposition(title: str, ending: str) -> str:
    """The header that gives a file its name: https://www.rfc-editor.org/rfc/rfc6266#section-4.3"""
    name = " ".join(_UNSAFE_IN_FILE_NAMES.sub(" ", title).split())[:_MAX_FILE_NAME_CHARACTERS].strip(" .")
    plain = " ".join(name.encode("ascii", "ignore").decode().split())
    encoded = quote(f"{name or 'conversation'}.{ending}", safe="")
    return f"attachment; filename=\"{plain or 'conversation'}.{ending}\"; filename*=UTF-8''{encoded}"


def _turn_parts(turn: ConversationTurn) -> Iterator[str]:
    if turn.question or turn.files:
        yield f"## Question, {iso_time(turn.created_at)}"
        yield from (f"Attached file: {as_data(file['name'])}" for file in turn.files)
        if turn.question:
            yield "\n".join(f"> {line}".rstrip() for line in turn.question.splitlines())
    yield "## Answer"
    output = [item for item in turn.response.get("output") or () if isinstance(item, dict)]
    if tools := list(dict.fromkeys(str(item["name"]) for item in output if _is_call(item))):
        yield f"Tools used: {', '.join(as_data(name) for name in tools)}"
    own = (item for item in output if not str(item.get("id")).startswith(BLOCKS_ID_PREFIX))
    texts = [part for item in own for part in item.get("content") or () if isinstance(part, dict)]
    yield from (text for part in texts if (text := str(part.get("text") or part.get("refusal") or "").strip()))
    yield from _blocks(turn.response)
    if sources := list(dict.fromkeys(source for part in texts for source in _sources(part))):
        yield "\n".join(["Sources:", "", *(f"- {source}" for source in sources)])
    yield from _end(turn.response)
    if turn.feedback is not None:
        said = f": {as_data(turn.feedback['comment'])}" if turn.feedback["comment"] else ""
        yield f"*Rated {_RATINGS[turn.feedback['value']]}{said}*"


def _is_call(item: Mapping[str, Any]) -> bool:
    return item.get("type") in ("function_call", "mcp_call") and bool(item.get("name"))


def _blocks(response: Mapping[str, Any]) -> Iterator[str]:
    outputs = response.get("custom_outputs")
    blocks = outputs.get("blocks") if isinstance(outputs, dict) else None
    try:
        read = blocks_from_json(json.dumps(blocks)) if blocks else ()
    except BlocksUnreadableError:
        # A handler of somebody's own may put anything there.
        return
    yield from (text for block in read if (text := block_markdown(block)))


def _sources(part: Mapping[str, Any]) -> Iterator[str]:
    for each in part.get("annotations") or ():
        if not isinstance(each, dict):
            continue
        if each.get("type") == "file_citation" and each.get("filename"):
            yield as_data(str(each["filename"]))
        elif each.get("type") == "url_citation" and each.get("url"):
            url = one_line(str(each["url"]), 4_000)
            yield f"[{as_data(str(each.get('title') or url))}](<{url}>)"


def _end(response: Mapping[str, Any]) -> Iterator[str]:
    status = response.get("status")
    if status in _ENDS:
        yield _ENDS[status]
    if status == "failed":
        error = response.get("error")
        message = str(error.get("message") or "") if isinstance(error, dict) else ""
        yield f"*This answer failed. {as_data(message)}*" if message else "*This answer failed.*"
