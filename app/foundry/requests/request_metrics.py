"""What is counted of requests, in the span of the turn that is current."""

from __future__ import annotations

from typing import Literal

from app.telemetry.instruments import FOUNDRY_POISON, FOUNDRY_REPEATS, FOUNDRY_REQUEST_AGE, FOUNDRY_REQUESTS
from app.telemetry.span_records import Instrument, Measurement
from app.telemetry.turn_span import current_turn

Outcome = Literal["answered", "refused", "too late", "failed", "dropped"]


def request_begun(tool: str, age_seconds: float) -> None:
    _measure(FOUNDRY_REQUEST_AGE, age_seconds, tool=tool)


def request_ended(tool: str, outcome: Outcome) -> None:
    _measure(FOUNDRY_REQUESTS, 1, tool=tool, outcome=outcome)


def request_repeated(tool: str) -> None:
    """The same request was on the queue again."""
    _measure(FOUNDRY_REPEATS, 1, tool=tool, kind="request")


def value_repeated(tool: str, times: int = 1) -> None:
    """The value of a request may have been sent before."""
    _measure(FOUNDRY_REPEATS, times, tool=tool, kind="value")


def poison_received(tool: str) -> None:
    _measure(FOUNDRY_POISON, 1, tool=tool)


def _measure(instrument: Instrument, value: float, **attributes: str) -> None:
    if (turn := current_turn()) is not None:
        turn.measured(Measurement(instrument, value, attributes))
