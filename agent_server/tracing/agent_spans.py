"""The agent's own spans (`app.telemetry.gen_ai`) as MLflow shows calls to models and tools. Pure: knows no MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from app.telemetry.span_records import Attributes, FinishedSpan, Measurement
from app.telemetry.spans import Span

_MAX_SPANS = 200
# https://mlflow.org/docs/latest/genai/concepts/span: span types, and the attributes that MLflow reads.
_TYPES = {"chat": "CHAT_MODEL", "execute_tool": "TOOL", "invoke_agent": "AGENT"}
_USAGE = "mlflow.chat.tokenUsage"
_MODEL = "mlflow.llm.model"
_PROVIDER = "mlflow.llm.provider"
_TEXT = frozenset(
    ("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result")
)


class SpanCollector:
    """A sink for the spans of one request. It keeps the first ones, and passes all on to the span that surrounds it,
    which counts too; without what people and models wrote.
    """

    def __init__(self, surrounding: Span | None = None) -> None:
        self.spans: list[FinishedSpan] = []
        self.root_id = 0
        self._surrounding = surrounding

    def span(self, span: FinishedSpan) -> None:
        if len(self.spans) < _MAX_SPANS:
            self.spans.append(span)
        if self._surrounding is not None:
            self._surrounding.pass_on(self._as_child(span, self._surrounding))

    def measured(self, measurement: Measurement) -> None:
        if self._surrounding is not None:
            self._surrounding.measured(measurement)

    def _as_child(self, span: FinishedSpan, surrounding: Span) -> FinishedSpan:
        attributes = span.attributes
        if not surrounding.records_text:
            attributes = {name: value for name, value in attributes.items() if name not in _TEXT}
        parent = surrounding.span_id if span.parent_id == self.root_id else span.parent_id
        return replace(span, parent_id=parent, attributes=attributes)


@dataclass(frozen=True, slots=True)
class AgentSpan:
    """Times in nanoseconds since 1970. `parent` is the id of another one; None below the request itself."""

    id: int
    parent: int | None
    name: str
    type: str
    started_at: int
    ended_at: int
    inputs: Any
    outputs: Any
    error: str | None
    attributes: dict[str, Any] = field(default_factory=dict)


def agent_spans(finished: Iterable[FinishedSpan]) -> Iterator[AgentSpan]:
    """Parents first."""
    ordered = sorted(finished, key=lambda span: span.started_at)
    known = {span.span_id for span in ordered}
    told: set[int] = set()
    while ordered:
        ready = [span for span in ordered if span.parent_id not in known or span.parent_id in told]
        for span in ready:
            told.add(span.span_id)
            yield _agent_span(span, span.parent_id if span.parent_id in known else None)
        ordered = [span for span in ordered if span.span_id not in told]
        if not ready:
            return


def _agent_span(span: FinishedSpan, parent: int | None) -> AgentSpan:
    attributes = span.attributes
    operation = str(attributes.get("gen_ai.operation.name", ""))
    inputs, outputs = _texts(operation, attributes)
    kept = {name: value for name, value in attributes.items() if name not in _TEXT}
    return AgentSpan(
        span.span_id,
        parent,
        span.name,
        _TYPES.get(operation, "UNKNOWN"),
        span.started_at,
        span.ended_at,
        inputs,
        outputs,
        span.error,
        kept | _mlflow_attributes(attributes),
    )


def _texts(operation: str, attributes: Attributes) -> tuple[Any, Any]:
    if operation == "execute_tool":
        arguments, result = attributes.get("gen_ai.tool.call.arguments"), attributes.get("gen_ai.tool.call.result")
        return _json(arguments), result
    messages = [_message(each) for each in _list(attributes.get("gen_ai.input.messages"))]
    answers = [_message(each) for each in _list(attributes.get("gen_ai.output.messages"))]
    choices = [
        {"message": each, "finish_reason": reason} for each, reason in zip(answers, _reasons(attributes), strict=False)
    ]
    return {"messages": messages} if messages else None, {"choices": choices} if choices else None


def _reasons(attributes: Attributes) -> Iterator[str | None]:
    reasons = attributes.get("gen_ai.response.finish_reasons")
    yield from reasons if isinstance(reasons, tuple) else ()
    while True:
        yield None


def _mlflow_attributes(attributes: Attributes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if model := attributes.get("gen_ai.request.model"):
        found |= {_MODEL: model, _PROVIDER: attributes.get("gen_ai.provider.name", "")}
    tokens_in, tokens_out = attributes.get("gen_ai.usage.input_tokens"), attributes.get("gen_ai.usage.output_tokens")
    if isinstance(tokens_in, int) and isinstance(tokens_out, int):
        usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
        found[_USAGE] = usage
    return found


def _message(message: Any) -> dict[str, str]:  # noqa: ANN401 - of `app.telemetry.gen_ai`
    return {"role": message["role"], "content": "".join(part["content"] for part in message["parts"])}


def _list(text: Any) -> list[Any]:  # noqa: ANN401 - an attribute's value
    parsed = _json(text)
    return parsed if isinstance(parsed, list) else []


def _json(text: Any) -> Any:  # noqa: ANN401 - an attribute's value
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
