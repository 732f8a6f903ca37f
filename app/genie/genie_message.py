"""What a message of Genie says: its state, its query, its texts. Tolerant: fields come and go, and states are added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.content.block_limits import MAX_ACTION_TEXT

_MAX_SQL = 20_000
_MAX_ATTACHMENTS = 50
_MAX_FOLLOW_UPS = 3
_FOLDED_PHASES = frozenset({"THINKING", "VERIFYING"})
_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "QUERY_RESULT_EXPIRED"})


@dataclass(frozen=True, slots=True)
class GenieQuery:
    attachment_id: str
    sql: str
    title: str = ""
    description: str = ""
    statement_id: str = ""


@dataclass(frozen=True, slots=True)
class GenieMessage:
    """`query` is the last one, which is the answer; `texts` are the answer's, `details` what led to it. `clarification`
    is a question back, beside the answer where there is a query. `error_type` is Genie's own word, empty without a
    failure. `visualization_id` is the attachment with the chart of the `query`, where there is one.
    """

    conversation_id: str
    message_id: str
    status: str
    query: GenieQuery | None = None
    texts: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    clarification: str = ""
    follow_ups: tuple[str, ...] = ()
    error_type: str = ""
    visualization_id: str = ""

    @property
    def ended(self) -> bool:
        return self.status in _ENDED


def parse_message(told: Mapping[str, Any]) -> GenieMessage:
    """Raises `ValueError` for what is no message: it has no id or no conversation."""
    message_id = _text(told.get("message_id")) or _text(told.get("id"))
    conversation_id = _text(told.get("conversation_id"))
    if not message_id or not conversation_id:
        raise ValueError("a message without its id or its conversation's")
    attachments = [each for each in _list(told.get("attachments"))[:_MAX_ATTACHMENTS] if isinstance(each, Mapping)]
    queries = [number for number, each in enumerate(attachments) if isinstance(each.get("query"), Mapping)]
    last_query = queries[-1] if queries else -1
    # Genie corrects itself by another query; what it says before its only one belongs to the answer.
    answer_starts = last_query if len(queries) > 1 else -1
    texts: list[str] = []
    details: list[str] = []
    clarification = ""
    follow_ups: tuple[str, ...] = ()
    for number, each in enumerate(attachments):
        text = each.get("text")
        if isinstance(text, Mapping) and (content := _text(text.get("content"))):
            if text.get("purpose") == "FOLLOW_UP_QUESTION":
                clarification = content
            elif _FOLDED_PHASES & {_text(text.get("phase")), _text(each.get("phase"))} or number < answer_starts:
                details.append(content)
            else:
                texts.append(content)
        suggested = each.get("suggested_questions")
        if isinstance(suggested, Mapping):
            asked = [_text(one) for one in _list(suggested.get("questions"))]
            # What does not fit a button would ask something else if it were cut.
            fitting = [one for one in asked if 0 < len(one) <= MAX_ACTION_TEXT]
            follow_ups = tuple(dict.fromkeys(fitting))[:_MAX_FOLLOW_UPS]
    error = told.get("error")
    query = _query(attachments[last_query]) if queries else None
    return GenieMessage(
        conversation_id,
        message_id,
        _text(told.get("status")) or "SUBMITTED",
        query,
        tuple(texts),
        tuple(details),
        clarification,
        follow_ups,
        _text(error.get("type")) or "UNKNOWN" if isinstance(error, Mapping) else "",
        _visualization_of(query, attachments) if query else "",
    )


def _visualization_of(query: GenieQuery, attachments: Sequence[Mapping[str, Any]]) -> str:
    for each in reversed(attachments):
        viz = each.get("viz")
        if isinstance(viz, Mapping) and _text(viz.get("query_attachment_id")) in {"", query.attachment_id}:
            return _id(each)
    return ""


def _query(attachment: Mapping[str, Any]) -> GenieQuery:
    query = attachment["query"]
    return GenieQuery(
        _id(attachment),
        _text(query.get("query"))[:_MAX_SQL],
        _text(query.get("title"))[:200],
        _text(query.get("description"))[:1000],
        _text(query.get("statement_id")),
    )


def _id(attachment: Mapping[str, Any]) -> str:
    return _text(attachment.get("attachment_id")) or _text(attachment.get("id"))


def _text(value: object) -> str:
    return value.strip()[:_MAX_SQL] if isinstance(value, str) else ""


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
