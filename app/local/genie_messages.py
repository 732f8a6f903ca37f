"""A message in the stand-in's Genie space: where it is in its plan, and what it says of that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from app.local.genie_plans import MessagePlan
from app.local.genie_questions import Clarification, KnownQuestion
from app.local.statement_results import StatementResult
from app.local.warehouse_stand_in import Statement, WarehouseStandIn

NOT_ABOUT_THIS_DATA = (
    "This question is not about the data of this space, which has the orders, items, customers, products and"
    " suppliers of a wholesaler from 1992 to 1998."
)
_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED", "QUERY_RESULT_EXPIRED"})
_RUNS_QUERY = frozenset({"PENDING_WAREHOUSE", "EXECUTING_QUERY"})


@dataclass(slots=True)
class GenieMessage:
    """`meaning` is what the question was understood as, or None where it is not about the data."""

    space_id: str
    conversation_id: str
    message_id: str
    content: str
    plan: MessagePlan
    meaning: KnownQuestion | Clarification | None
    status: str = "SUBMITTED"
    looks: int = 0
    statement: Statement | None = None
    error: tuple[str, str] | None = None
    rating: str = "NONE"
    comment: str = ""
    visualize: bool = False
    created_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    @property
    def ended(self) -> bool:
        return self.status in _ENDED

    @property
    def sql(self) -> str | None:
        if self.plan.sql:
            return self.plan.sql
        return self.meaning.sql if isinstance(self.meaning, KnownQuestion) else None

    @property
    def title(self) -> str:
        return self.meaning.title if isinstance(self.meaning, KnownQuestion) else "Orders"

    def advance(self, warehouse: WarehouseStandIn, is_released: Callable[[str], bool]) -> None:
        """To the next state of the plan, as far as the statement allows."""
        if self.ended:
            return
        if self.statement is not None:
            warehouse.poll(self.statement)
        if self.statement is not None and self.statement.state == "CANCELED":
            self.status = "CANCELLED"
            return
        if self.status == self.plan.held_in and not is_released(self.status):
            return
        states = [state for state in self.plan.states if self.sql or state not in _RUNS_QUERY]
        if self.looks < len(states):
            ran = self.status in _RUNS_QUERY
            self.status = states[self.looks]
            self.looks += 1
            if self.status in _RUNS_QUERY and not ran and self.sql:
                self.statement = warehouse.start(self.sql)
        elif self.statement is None or self.statement.ended.is_set():
            self._end()

    def _end(self) -> None:
        if self.plan.error:
            self.status, self.error = "FAILED", self.plan.error
        elif self.statement is not None and self.statement.state == "FAILED":
            self.status = "FAILED"
            self.error = ("SQL_EXECUTION_EXCEPTION", (self.statement.error or {}).get("message", ""))
        else:
            self.status = self.plan.end

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": self.message_id,
            "message_id": self.message_id,
            "space_id": self.space_id,
            "conversation_id": self.conversation_id,
            "content": self.content,
            "status": self.status,
            "created_timestamp": self.created_ms,
            "last_updated_timestamp": self.created_ms + self.looks,
            "user_id": 1,
        }
        if self.error:
            told["error"] = {"type": self.error[0], "error": self.error[1]}
        if self.rating != "NONE":
            told["feedback"] = {"rating": self.rating, "comment": self.comment}
        if attachments := self._attachments():
            told["attachments"] = attachments
        return told

    def attachment_id(self, name: str) -> str:
        return f"{self.message_id[:24]}{sum(name.encode()):08x}"

    @property
    def chart_values(self) -> list[float]:
        """What the chart shows that was asked for; none without one."""
        result = self.statement.result if self.statement else None
        if not self.visualize or result is None or len(result.columns) < 2 or len(result.rows) < 2:
            return []
        return [float(value) for row in result.rows if (value := _number(row[-1])) is not None]

    def _attachments(self) -> list[dict[str, Any]]:
        if self.status in _RUNS_QUERY:
            return [self._query()]
        if self.status not in {"COMPLETED", "QUERY_RESULT_EXPIRED"}:
            return []
        if isinstance(self.meaning, Clarification) and self.sql is None:
            return [self._text("clarification", self.meaning.text, "FOLLOW_UP_QUESTION")]
        if "clarification" in self.plan.attachments:
            return [self._text("clarification", "Do you mean the order date or the ship date?", "FOLLOW_UP_QUESTION")]
        if self.sql is None:
            return [self._text("answer", NOT_ABOUT_THIS_DATA)]
        attachments = []
        if "earlier query" in self.plan.attachments:
            earlier = {"title": "Years", "description": "Looks which years there are.", "statement_id": ""}
            earlier["query"] = "SELECT DISTINCT YEAR(o_orderdate) FROM samples.tpch.orders"
            attachments.append({"attachment_id": self.attachment_id("earlier"), "query": earlier})
        for phase in ("thinking", "verifying"):
            if phase in self.plan.attachments:
                text = self._text(phase, f"{phase.capitalize()} about the question.")
                text["text"]["phase"] = phase.upper()
                attachments.append(text)
        attachments.append(self._query())
        if self.chart_values:
            viz = {"query_attachment_id": self.attachment_id("query"), "title": "Chart"}
            attachments.append({"attachment_id": self.attachment_id("viz"), "viz": viz})
        attachments.append({"text": {"content": self.summary(), "purpose": "TEXT_ATTACHMENT_PURPOSE_ANSWER"}})
        if isinstance(self.meaning, KnownQuestion):
            follow_ups = {"questions": list(self.meaning.follow_ups)}
            attachments.append({"attachment_id": self.attachment_id("next"), "suggested_questions": follow_ups})
        return attachments

    def _text(self, name: str, content: str, purpose: str = "TEXT_ATTACHMENT_PURPOSE_ANSWER") -> dict[str, Any]:
        return {"attachment_id": self.attachment_id(name), "text": {"content": content, "purpose": purpose}}

    def _query(self) -> dict[str, Any]:
        title = self.title
        query: dict[str, Any] = {
            "query": self.sql,
            "title": title,
            "description": f"You want to see {title[0].lower()}{title[1:]}.",
            "parameters": [],
            "thoughts": [
                {"thought_type": "THOUGHT_TYPE_DATA_SOURCING", "content": "The tables of `samples.tpch` hold this."}
            ],
        }
        if self.statement is not None:
            query["statement_id"] = self.statement.statement_id
            if self.statement.result is not None:
                query["query_result_metadata"] = {
                    "row_count": len(self.statement.result.rows),
                    "is_truncated": self.statement.result.truncated,
                }
        return {"attachment_id": self.attachment_id("query"), "query": query}

    def summary(self) -> str:
        result = self.statement.result if self.statement else None
        if result is None or not result.rows or not isinstance(self.meaning, KnownQuestion):
            return f"The query returned {len(result.rows) if result else 0} rows."
        return _summary_of(self.meaning, result)


def _summary_of(asked: KnownQuestion, result: StatementResult) -> str:
    if len(result.columns) == 1:
        return f"{asked.title}: {_grouped(result.rows[0][0])}."
    measured = [(value, row) for row in result.rows if (value := _number(row[-1])) is not None]
    if not measured:
        return f"{asked.title}: {len(result.rows)} rows without a value."
    value, row = max(measured, key=lambda one: one[0])
    return f"{asked.title}: {len(result.rows)} rows. The highest is **{_grouped(str(value))}** ({row[0]})."


def _number(text: str | None) -> Decimal | None:
    try:
        return None if text is None else Decimal(text)
    except InvalidOperation:
        return None


def _grouped(text: str | None) -> str:
    number = _number(text)
    return str(text) if number is None else f"{number:,f}"
