"""Takes out of MLflow's spans what a trace may not hold: https://mlflow.org/docs/latest/genai/tracing/observe-with-traces/masking"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent_server.tracing.span_content import NOT_RECORDED, Content, is_secret_name, recorded_text, recorded_value
from app.tools.redaction import REMOVED

if TYPE_CHECKING:
    from mlflow.entities import LiveSpan

# Of MLflow's own attributes, what people and models wrote.
_WRITTEN = (
    "mlflow.spanInputs",
    "mlflow.spanOutputs",
    "mlflow.chat.tools",
    "mlflow.trace.intermediate_outputs",
    "mlflow.spanDescription",
)


def span_processor(content: Content) -> Callable[[LiveSpan], None]:
    """For `mlflow.tracing.configure`: MLflow calls it with each span before that ends, also with those of handlers."""

    def keep_allowed_content(span: LiveSpan) -> None:
        try:
            _clean_attributes(span, content)
            _clean_events(span, content)
            _clean_status(span, content)
        except Exception:
            # MLflow would write the span as it is.
            for name in _WRITTEN[:2]:
                span.set_attribute(name, NOT_RECORDED)
            raise

    return keep_allowed_content


def _clean_attributes(span: LiveSpan, content: Content) -> None:
    for name, value in span.attributes.items():
        clean = _clean_attribute(name, value, content)
        if clean is not value:
            span.set_attribute(name, clean)


def _clean_attribute(name: str, value: Any, content: Content) -> Any:  # noqa: ANN401 - any JSON
    if name.startswith("mlflow.") and name not in _WRITTEN:
        return value
    if is_secret_name(name.rpartition(".")[2]) and isinstance(value, str | list):
        return REMOVED
    if content == "none" and isinstance(value, bool | int | float | None):
        return value
    return recorded_value(value, content)


def _clean_events(span: LiveSpan, content: Content) -> None:
    """Of exceptions, and of each piece of a traced generator. MLflow has no call that changes an event."""
    events = list(span._span._events)
    if not events:
        return
    span._span._events = span._span._new_events()
    for event in events:
        attributes = {
            name: recorded_text(value, content) if isinstance(value, str) and name != "exception.type" else value
            for name, value in (event.attributes or {}).items()
        }
        span._span.add_event(event.name, attributes, event.timestamp)


def _clean_status(span: LiveSpan, content: Content) -> None:
    from mlflow.entities import SpanStatus  # noqa: PLC0415

    status = span.status
    if status.description and (clean := recorded_text(status.description, content)) != status.description:
        span.set_status(SpanStatus(status.status_code, clean))
