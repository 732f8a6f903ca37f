"""Spans of one trace: a turn, and below it the calls to models, tools and the channel."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import TracebackType
from typing import Self

from app.telemetry.span_records import Attributes, FinishedSpan, Measurement, Sink, SpanKind


class Span:
    """Ends once: as a context manager, or by `end`. Its attributes may be added to until then.

    `records_text`: whether it and its children may carry what was asked and answered.
    """

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        sink: Sink,
        *,
        trace_id: int | None = None,
        parent_id: int | None = None,
        records_text: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.attributes = dict(attributes)
        self.trace_id = trace_id or secrets.randbits(128) or 1
        self.span_id = secrets.randbits(64) or 1
        self.parent_id = parent_id
        self.records_text = records_text
        self.error: str | None = None
        self.stack = ""
        self.ended = False
        self._sink = sink
        self._started_at = time.time_ns()
        self._started = time.perf_counter_ns()

    @property
    def seconds(self) -> float:
        """The seconds since its start."""
        return (time.perf_counter_ns() - self._started) / 1e9

    def fail(self, error: BaseException | str) -> None:
        """The first failure counts: those that follow are its consequences."""
        if self.error is None:
            self.error = error if isinstance(error, str) else type(error).__name__

    def child(self, name: str, kind: SpanKind, attributes: Attributes) -> Span:
        return Span(
            name,
            kind,
            attributes,
            self._sink,
            trace_id=self.trace_id,
            parent_id=self.span_id,
            records_text=self.records_text,
        )

    @property
    def traceparent(self) -> str:
        """The header that continues this trace elsewhere: https://www.w3.org/TR/trace-context/."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"

    def measured(self, measurement: Measurement) -> None:
        self._sink.measured(measurement)

    def pass_on(self, span: FinishedSpan) -> None:
        """Records `span`, which has ended elsewhere, in this one's trace."""
        self._sink.span(replace(span, trace_id=self.trace_id))

    def discard(self) -> None:
        """Ends it without a record."""
        self.ended = True

    def end(self) -> None:
        if self.ended:
            return
        self.ended = True
        if self.error is not None:
            # The second, because Application Insights leaves the first out of the properties of a span.
            self.attributes["error.type"] = self.attributes["agent.failure"] = self.error
        # The wall clock may jump, the duration must not.
        ended_at = self._started_at + time.perf_counter_ns() - self._started
        started = (self._started_at, ended_at)
        ids = (self.trace_id, self.span_id, self.parent_id)
        self._sink.span(FinishedSpan(self.name, self.kind, *ids, *started, self.attributes, self.error, self.stack))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if is_cancellation(error):
            # Cancelled, which is no failure.
            self.attributes["agent.cancelled"] = True
        elif error is not None:
            self.fail(error)
        self.end()


def is_cancellation(error: BaseException | None) -> bool:
    return isinstance(error, GeneratorExit | asyncio.CancelledError)


class _NullSink:
    def span(self, span: FinishedSpan) -> None:
        """Outside of a trace nothing is recorded."""

    def measured(self, measurement: Measurement) -> None:
        """Nor counted."""


_current: ContextVar[Span | None] = ContextVar("current span", default=None)


@contextmanager
def as_current(span: Span) -> Iterator[None]:
    """Spans that start inside, in tasks too, are children of `span`. Not for use around the `yield` of a generator."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def current_span() -> Span | None:
    return _current.get()


def make_current(span: Span | None) -> None:
    """As `as_current`, for what is left of this context: that of a request's task, or of one turn of a worker."""
    _current.set(span)


def start_span(name: str, kind: SpanKind, attributes: Attributes) -> Span:
    """A child of the current span; outside of a trace, a span that is not recorded."""
    parent = _current.get()
    return Span(name, kind, attributes, _NullSink()) if parent is None else parent.child(name, kind, attributes)


def error_id_of(trace_id: int) -> str:
    """Eight hexadecimal digits: the end of the trace id, since its beginning need not be random.

    https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
    """
    return f"{trace_id & 0xFFFFFFFF:08x}"


def new_error_id() -> str:
    """The id that a person is shown and that finds the trace; outside of a trace, a random one."""
    parent = _current.get()
    return error_id_of(secrets.randbits(32) if parent is None else parent.trace_id)
