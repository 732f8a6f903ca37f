"""What happens while the agent of `app.agent` answers, as events that a handler yields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from app.agent.events import (
    Answer,
    BlockAdded,
    Event,
    Failure,
    Status,
    Suspended,
    TextAdded,
    ToolFinished,
    ToolStarted,
    interrupted,
)
from app.content.block_json import blocks_for_programs, blocks_from_json, blocks_to_json
from app.content.citation import Citation
from app.messaging.actions import ASK_VERB, CALL_VERB
from app.messaging.result_files import FILE_VERB

if TYPE_CHECKING:
    from app.content.blocks import Block

Json = dict[str, Any]

SERVER_LABEL = "agent"
BLOCKS_ID_PREFIX = "blocks_"
"""Begins the id of the message that says in text what `custom_outputs.blocks` are, for clients that show no blocks."""

# What others do, they do in a chat.
_VERBS = (ASK_VERB, CALL_VERB, FILE_VERB)
_MARKER = re.compile(r"\[(\d{1,4})\]")


class AgentEventItems:
    """One attempt to answer. Tools that it called itself are items of the type `mcp_call`, since clients run those of
    the type `function_call`. What is being done is the summary of a `reasoning` item. Blocks come with the end, as
    `custom_outputs.blocks`, and as text.
    """

    def __init__(self) -> None:
        self._message_id = ""
        self._pieces: list[str] = []
        self._reasoning_id = ""
        self._statuses: list[str] = []
        self._calls: dict[str, Json] = {}
        self._citations: dict[int, Citation] = {}
        self._cited: set[int] = set()

    def add(self, event: Event) -> list[Json]:
        return list(self._events(event))

    def _events(self, event: Event) -> Iterator[Json]:
        if isinstance(event, Citation):
            self._citations[event.position] = event
            return
        if not isinstance(event, Status):
            yield from self._close_reasoning()
        match event:
            case TextAdded(text):
                yield from self._text(_with_note(text))
            case Status(text):
                yield from self._status(text)
            case ToolStarted():
                yield from self._close_message()
                yield from self._tool_started(event)
            case ToolFinished():
                yield from self._tool_finished(event)
            case BlockAdded():
                pass
            case Answer() | Failure() | Suspended():
                yield from self._end(event)

    def _text(self, text: str) -> Iterator[Json]:
        if not text:
            return
        self._message_id = self._message_id or f"msg_{uuid4().hex}"
        self._pieces.append(text)
        yield {"type": "response.output_text.delta", "item_id": self._message_id, "delta": text}

    def _close_message(self) -> Iterator[Json]:
        if not self._message_id:
            return
        text = "".join(self._pieces)
        part = {"type": "output_text", "text": text, "annotations": list(self._annotations(text))}
        item = {
            "type": "message",
            "id": self._message_id,
            "role": "assistant",
            "content": [part],
            "status": "completed",
        }
        self._message_id, self._pieces = "", []
        yield {"type": "response.output_item.done", "item": item}

    def _annotations(self, text: str) -> Iterator[Json]:
        """Where the text has `[n]`, the source of that number."""
        for marker in _MARKER.finditer(text):
            citation = self._citations.get(int(marker[1]))
            if citation is not None:
                self._cited.add(citation.position)
                yield annotation(citation, marker.start(), marker.end())

    def _status(self, text: str) -> Iterator[Json]:
        self._reasoning_id = self._reasoning_id or f"rs_{uuid4().hex}"
        place = {"item_id": self._reasoning_id, "summary_index": len(self._statuses)}
        self._statuses.append(text)
        part = {"type": "summary_text", "text": ""}
        yield {"type": "response.reasoning_summary_part.added", **place, "part": part}
        yield {"type": "response.reasoning_summary_text.delta", **place, "delta": text}

    def _close_reasoning(self) -> Iterator[Json]:
        if not self._reasoning_id:
            return
        summary = [{"type": "summary_text", "text": text} for text in self._statuses]
        item = {"type": "reasoning", "id": self._reasoning_id, "summary": summary}
        self._reasoning_id, self._statuses = "", []
        yield {"type": "response.output_item.done", "item": item}

    def _tool_started(self, event: ToolStarted) -> Iterator[Json]:
        # Arguments may hold what only the person of this turn may read, and logs keep items.
        call = {
            "type": "mcp_call",
            "id": f"mcp_{uuid4().hex}",
            "name": event.name,
            "server_label": SERVER_LABEL,
            "arguments": "{}",
            "title": event.title,
        }
        self._calls[event.call_id] = call
        yield {"type": "response.output_item.added", "item": {**call, "status": "in_progress"}}

    def _tool_finished(self, event: ToolFinished) -> Iterator[Json]:
        call = self._calls.pop(event.call_id, None)
        if call is None:
            return
        ended: Json = {"status": "completed", "output": "", "error": None}
        if not event.succeeded:
            error = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": "The call failed."}]}
            ended = {"status": "failed", "output": None, "error": error}
        yield {"type": "response.output_item.done", "item": {**call, **ended}}

    def _end(self, end: Answer | Failure | Suspended) -> Iterator[Json]:
        if isinstance(end, Suspended):
            yield from self._text(f"\n\n{end.sentence}" if end.text else end.sentence)
        if isinstance(end, Answer):
            yield from self._remaining_citations(end)
        yield from self._close_message()
        shown = list(_without_chat_buttons(end.blocks))
        custom: Json = {"custom_outputs": {"blocks": _as_json(shown)}} if shown else {}
        yield from _text_of_blocks([block for block in shown if block.kind != "actions"], has_text=bool(end.text))
        match end:
            case Failure(sentence, error_id):
                message = sentence if error_id in sentence else f"{sentence} (error id {error_id})"
                yield {"type": "error", "code": "server_error", "message": message, "param": None, **custom}
                return
            case Suspended():
                yield {"type": "response.output_item.done", "item": _approval_request(end)}
        status = "incomplete" if isinstance(end, Answer) and end.truncated else "completed"
        details = {"incomplete_details": {"reason": "max_output_tokens"}} if status == "incomplete" else {}
        usage = {"usage": asdict(end.usage)} if isinstance(end, Answer) and end.usage else {}
        yield {"type": f"response.{status}", "response": {**details, **usage, **custom}}

    def _remaining_citations(self, answer: Answer) -> Iterator[Json]:
        """Those whose number is nowhere in the text belong to all of it."""
        self._citations.update({citation.position: citation for citation in answer.citations})
        text = "".join(self._pieces)
        marked = {int(marker[1]) for marker in _MARKER.finditer(text)} | self._cited
        for citation in self._citations.values():
            if citation.position not in marked:
                self._message_id = self._message_id or f"msg_{uuid4().hex}"
                self._cited.add(citation.position)
                place = {"item_id": self._message_id, "annotation": annotation(citation, 0, len(text))}
                yield {"type": "response.output_text.annotation.added", "annotation_index": 0, **place}


def annotation(citation: Citation, start: int, end: int) -> Json:
    """`start` and `end` count characters of the text that it belongs to."""
    quote = {"quote": citation.quote} if citation.quote else {}
    if citation.url:
        place = {"url": citation.url, "start_index": start, "end_index": end}
        return {"type": "url_citation", "title": citation.title, **place, **quote}
    named = {"file_id": f"source_{citation.position}", "filename": citation.title}
    return {"type": "file_citation", **named, "index": end, **quote}


def _approval_request(suspended: Suspended) -> Json:
    return {
        "type": "mcp_approval_request",
        "id": suspended.waiting_for,
        "name": suspended.title,
        "arguments": suspended.arguments,
        "server_label": SERVER_LABEL,
    }


def _as_json(blocks: Sequence[Block]) -> list[Json]:
    """Those that one message may have."""
    return blocks_for_programs(blocks_from_json(blocks_to_json(blocks)))


def _without_chat_buttons(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        if block.kind == "actions":
            kept = tuple(action for action in block.actions if action.verb in _VERBS)
            if kept:
                yield replace(block, actions=kept)
        elif block.kind != "forms":
            yield block


def _text_of_blocks(blocks: Sequence[Block], *, has_text: bool) -> Iterator[Json]:
    """A message of its own, for clients that read nothing but text."""
    if not blocks:
        return
    from app.content.block_markdown import block_markdown  # noqa: PLC0415 - no answer without blocks needs it

    text = "\n\n".join(filter(None, map(block_markdown, blocks)))
    part = {"type": "output_text", "text": f"\n\n{text}" if has_text else text, "annotations": []}
    item = {"type": "message", "id": f"{BLOCKS_ID_PREFIX}{uuid4().hex}", "role": "assistant", "content": [part]}
    if text:
        yield {"type": "response.output_item.done", "item": item}


def _with_note(text: str) -> str:
    parts = interrupted(text)
    if parts is None:
        return text
    before, note, after = parts
    return f"{before}\n\n*{note}*\n\n{after.lstrip()}" if note else before + after
