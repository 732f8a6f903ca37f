"""Keeps what was recorded until there is something that exports it."""

from __future__ import annotations

from collections import deque

from app.telemetry.span_records import FinishedSpan, Measurement, Sink

_MOST_KEPT = 2048


class Recorder:
    """A sink that can be there before the real one."""

    def __init__(self) -> None:
        self._kept: deque[FinishedSpan | Measurement] = deque(maxlen=_MOST_KEPT)
        self._sink: Sink | None = None

    def span(self, span: FinishedSpan) -> None:
        if self._sink is None:
            self._kept.append(span)
        else:
            self._sink.span(span)

    def measured(self, measurement: Measurement) -> None:
        if self._sink is None:
            self._kept.append(measurement)
        else:
            self._sink.measured(measurement)

    def attach(self, sink: Sink) -> None:
        """Hands over what was kept, oldest first, and all that follows."""
        while self._kept:
            record = self._kept.popleft()
            if isinstance(record, Measurement):
                sink.measured(record)
            else:
                sink.span(record)
        self._sink = sink
