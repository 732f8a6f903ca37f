"""Buffers what is recorded until an exporter is attached."""

from __future__ import annotations

from collections import deque

from app.telemetry.span_records import FinishedSpan, Measurement, Sink

_MAX_RECORDS = 2048


class Recorder:
    """A sink in front of the exporter's. It keeps the newest records."""

    def __init__(self) -> None:
        self._kept: deque[FinishedSpan | Measurement] = deque(maxlen=_MAX_RECORDS)
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
        """Passes on what was buffered, oldest first, and all that follows."""
        while self._kept:
            record = self._kept.popleft()
            if isinstance(record, Measurement):
                sink.measured(record)
            else:
                sink.span(record)
        self._sink = sink
