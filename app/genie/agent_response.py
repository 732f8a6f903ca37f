"""A response of Genie's agent mode, from its events or from the items of its conversation.

https://docs.databricks.com/api/genie/v1/agent-mode-create-response: each event brings an item whole, however often it
has changed, and no pieces of text. Its `execute_sql` calls are Genie's own: their results come as Markdown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.common.json_values import items, mapping, text
from app.models.answer_reader import source_of
from app.models.model import Source

CANCELLED = "MESSAGE_CANCELLED_WHILE_EXECUTING"
"""An `error_code`, as that of a message in the Conversation API."""
_MAX_ITEMS = 500
_MAX_TEXT = 50_000
_MAX_SQL = 20_000
_MAX_TITLE = 200
_MAX_SOURCES = 20
_ITEM_EVENTS = frozenset(f"response.output_item.{each}" for each in ("added", "updated", "done"))
_LAST_EVENTS = frozenset({"response.completed", "response.failed", "response.incomplete", "response.done"})
_CITATION = re.compile(r" ?:citation\[[^\[\]\n]{0,300}\]")


@dataclass(frozen=True, slots=True)
class AgentQuery:
    """A query that Genie ran. `output` is its title and result in Markdown, empty until it has ended. `metadata` is the
    result as a part of the report describes it, where one does: names of columns, rows of text, how many there are.
    """

    sql: str
    title: str = ""
    output: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """`thoughts` and `queries` led to the `report`, which is Markdown."""

    report: str
    thoughts: tuple[str, ...]
    queries: tuple[AgentQuery, ...]
    sources: tuple[Source, ...]


class AgentResponse:
    """What has arrived so far. `error_code` is set where it failed, to Genie's own word or UNKNOWN."""

    def __init__(self) -> None:
        self.response_id = ""
        self.conversation_id = ""
        self.ended = False
        self.error_code = ""
        self._items: dict[str, Mapping[str, Any]] = {}

    def take_event(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """The item that is new or has changed, empty where none is."""
        kind = text(event.get("type"))
        if kind in _ITEM_EVENTS:
            return self._take(mapping(event.get("item")))
        if kind == "error":
            self._fail_with(event)
        if kind.startswith("response."):
            self._take_response(mapping(event.get("response")), last=kind in _LAST_EVENTS)
        return {}

    def take_newest(self, newest_first: Sequence[Any]) -> Sequence[Mapping[str, Any]]:
        """The items that follow the last question of a conversation; those that are new or have changed."""
        of_response: list[Mapping[str, Any]] = []
        for each in newest_first:
            item = mapping(each)
            if _is_question(item):
                break
            of_response.append(item)
        changed = [taken for item in reversed(of_response) if (taken := self._take(item))]
        if of_response and of_response[0].get("role") == "system":
            self.fail("")
        return changed

    @property
    def has_report(self) -> bool:
        """Whether the last item is a message that does not change any more."""
        last = next(reversed(self._items.values()), {})
        return last.get("type") == "message" and last.get("status") != "in_progress"

    def answer(self) -> AgentAnswer:
        thoughts: list[str] = []
        report: list[str] = []
        described: dict[str, Mapping[str, Any]] = {}
        sources: list[Source] = []
        for item in self._items.values():
            parts = [mapping(each) for each in items(item.get("content"))]
            if item.get("type") == "reasoning":
                thoughts += [said for part in parts if (said := _said(part))]
            elif item.get("type") == "message" and item.get("role") != "system":
                for part in parts:
                    details = mapping(part.get("metadata"))
                    if sql := _one_line(text(details.get("sql"))):
                        described[sql] = details
                    elif said := _said(part):
                        report.append(said)
                    sources += filter(None, map(source_of, items(part.get("annotations"))))
        return AgentAnswer(
            "\n\n".join(report)[:_MAX_TEXT],
            tuple(thoughts),
            self._queries(described),
            tuple(dict.fromkeys(sources))[:_MAX_SOURCES],
        )

    def _queries(self, described: Mapping[str, Mapping[str, Any]]) -> tuple[AgentQuery, ...]:
        outputs = {
            text(item.get("call_id")): text(item.get("output"))[:_MAX_TEXT]
            for item in self._items.values()
            if item.get("type") == "function_call_output"
        }
        queries: dict[str, AgentQuery] = {}
        for item in self._items.values():
            asked = query_of(item)
            if asked is not None:
                key = _one_line(asked.sql)
                output = outputs.get(text(item.get("call_id")), "")
                # One that Genie runs again stands where it ran last.
                queries.pop(key, None)
                queries[key] = AgentQuery(asked.sql, asked.title, output, described.get(key, {}))
        for key, details in described.items():
            if key not in queries:
                queries[key] = AgentQuery(text(details.get("sql"))[:_MAX_SQL], metadata=details)
        return tuple(queries.values())

    def _take(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        id = f"{item.get('type')} {item.get('id') or len(self._items)}"
        if not item or _is_question(item) or self._items.get(id) == item:
            return {}
        if id in self._items or len(self._items) < _MAX_ITEMS:
            self._items[id] = item
        return item

    def _take_response(self, response: Mapping[str, Any], *, last: bool) -> None:
        self.response_id = text(response.get("id")) or self.response_id
        self.conversation_id = text(response.get("conversation_id")) or self.conversation_id
        for item in items(response.get("output")):
            self._take(mapping(item))
        if last:
            self.ended = True
            if response.get("status") == "cancelled":
                self.fail(CANCELLED)
            elif response.get("status") == "failed" or response.get("error"):
                self._fail_with(mapping(response.get("error")))

    def fail(self, error_code: str) -> None:
        self.ended = True
        self.error_code = error_code or "UNKNOWN"

    def _fail_with(self, error: Mapping[str, Any]) -> None:
        self.fail(text(error.get("code")) or text(error.get("error_code")))


def query_of(item: Mapping[str, Any]) -> AgentQuery | None:
    """The query of a call of `execute_sql`, once its arguments are whole."""
    if item.get("type") != "function_call" or item.get("name") != "execute_sql":
        return None
    try:
        arguments = mapping(json.loads(text(item.get("arguments"))[: 2 * _MAX_SQL]))
    except (ValueError, RecursionError):
        return None
    sql = text(arguments.get("sql")).strip()[:_MAX_SQL]
    return AgentQuery(sql, text(arguments.get("title")).strip()[:_MAX_TITLE]) if sql else None


def thought_of(item: Mapping[str, Any]) -> str:
    """What Genie thinks, in its own words."""
    parts = items(item.get("content")) if item.get("type") == "reasoning" else []
    return " ".join(filter(None, (_said(mapping(part)) for part in parts)))


def _said(part: Mapping[str, Any]) -> str:
    return _CITATION.sub("", text(part.get("text"))[:_MAX_TEXT]).strip()


def _is_question(item: Mapping[str, Any]) -> bool:
    return item.get("type") == "message" and (item.get("role") == "user" or text(item.get("id")).endswith("_input"))


def _one_line(sql: str) -> str:
    return " ".join(sql[:_MAX_SQL].split())
