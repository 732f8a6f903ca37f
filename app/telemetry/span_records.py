"""What is recorded: spans that have ended, and measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

AttributeValue = str | bool | int | float | tuple[str, ...]
Attributes = Mapping[str, AttributeValue]


class SpanKind(Enum):
    """As OpenTelemetry's span kinds."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """Times in nanoseconds since 1970. `error` is the kind of failure, a class name; `stack` where it came from.

    Neither quotes what a person or another machine has written.
    """

    name: str
    kind: SpanKind
    trace_id: int
    span_id: int
    parent_id: int | None
    started_at: int
    ended_at: int
    attributes: Attributes
    error: str | None = None
    stack: str = ""


@dataclass(frozen=True, slots=True)
class Instrument:
    """A histogram if it has `buckets`, else a counter."""

    name: str
    unit: str
    description: str
    buckets: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    instrument: Instrument
    value: float
    attributes: Attributes


class Sink(Protocol):
    """Both return at once; the sink sends in the background."""

    def span(self, span: FinishedSpan) -> None: ...

    def measured(self, measurement: Measurement) -> None: ...
