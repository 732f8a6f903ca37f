"""Calls to models and tools, named as OpenTelemetry's conventions for generative AI name them.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from app.telemetry.instruments import OPERATION_DURATION, TOKEN_USAGE
from app.telemetry.span_records import AttributeValue, Measurement, SpanKind
from app.telemetry.spans import Span, is_cancellation, start_span

# The older name beside `gen_ai.provider.name`: Application Insights takes a dependency's type from it.
_SYSTEM = {"gen_ai.system": "databricks"}


class ModelCall:
    """One request to a model: its span and token counts are recorded when the block ends."""

    def __init__(self, model: str) -> None:
        self._by: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "databricks",
            "gen_ai.request.model": model,
        }
        self._span = start_span(
            f"chat {model}", SpanKind.CLIENT, {**self._by, **_SYSTEM, "gen_ai.request.stream": True}
        )
        self._attributes = self._span.attributes
        self._started = False
        self._text: list[str] = []

    def asked(self, messages: Iterable[tuple[str, str]]) -> None:
        """`messages` are (role, text); kept only where text may be recorded."""
        if self._span.records_text:
            self._attributes["gen_ai.input.messages"] = _as_json(messages)

    def chunk(self, text: str) -> None:
        if not self._started:
            self._started = True
            self._attributes["gen_ai.response.time_to_first_chunk"] = round(self._span.seconds, 4)
        if self._span.records_text:
            self._text.append(text)

    def completed(self, reason: str, tokens: tuple[int, int] | None) -> None:
        """`reason` is `stop`, `length` or `tool_calls`; `tokens` are those of the request and of the response."""
        self._attributes["gen_ai.response.finish_reasons"] = (reason,)
        if tokens is None:
            return
        for kind, count in zip(("input", "output"), tokens, strict=True):
            self._attributes[f"gen_ai.usage.{kind}_tokens"] = count
            self._span.measured(Measurement(TOKEN_USAGE, count, {**self._by, "gen_ai.token.type": kind}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if is_cancellation(error):
            self._attributes["gen_ai.response.finish_reasons"] = ("cancelled",)
        if self._text:
            self._attributes["gen_ai.output.messages"] = _as_json([("assistant", "".join(self._text))])
        self._span.__exit__(kind, error, traceback)
        by = self._by if self._span.error is None else {**self._by, "error.type": self._span.error}
        self._span.measured(Measurement(OPERATION_DURATION, self._span.seconds, by))


def start_tool_call(name: str, arguments: str) -> Span:
    attributes: dict[str, AttributeValue] = {
        **_SYSTEM,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": name,
        "gen_ai.tool.type": "function",
    }
    span = start_span(f"execute_tool {name}", SpanKind.INTERNAL, attributes)
    if span.records_text:
        span.attributes["gen_ai.tool.call.arguments"] = arguments
    return span


def end_tool_call(span: Span, result: str, failure: str | None) -> None:
    """`failure` is its kind, if it failed."""
    if failure is not None:
        span.fail(failure)
    if span.records_text:
        span.attributes["gen_ai.tool.call.result"] = result
    by = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": span.attributes["gen_ai.tool.name"]}
    span.measured(
        Measurement(OPERATION_DURATION, span.seconds, by if failure is None else {**by, "error.type": failure})
    )
    span.end()


def _as_json(messages: Iterable[tuple[str, str]]) -> str:
    parts = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in messages]
    return json.dumps(parts, ensure_ascii=False)
