"""The span of a whole turn, from the activity to the end of its answer."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

from app.telemetry.instruments import (
    CIRCUIT_BREAKER_CHANGES,
    FAILURES,
    FEEDBACK,
    HAND_OVERS_MISSING,
    TIME_TO_FIRST_UPDATE,
    TURN_DURATION,
    TURNS,
    TURNS_RESUMED,
)
from app.telemetry.span_records import Instrument, Measurement, Sink, SpanKind
from app.telemetry.spans import Span, as_current, error_id_of

Outcome = Literal["answered", "stopped", "suspended", "handed over"]

_MAX_CAUSES = 5

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


class TurnSpan(Span):
    """The span of an activity of `kind`; from `begin` on it is a turn, and counted as one."""

    def __init__(self, kind: str, sink: Sink, traceparent: str | None = None, *, records_text: bool = False) -> None:
        trace_id, parent_id = read_traceparent(traceparent)
        super().__init__(
            f"activity {kind}",
            SpanKind.SERVER,
            {},
            sink,
            trace_id=trace_id,
            parent_id=parent_id,
            records_text=records_text,
        )
        self.outcome: Outcome | None = None
        self._begun = False
        self._first_update: float | None = None

    def begin(self, *, channel: str, conversation: str) -> None:
        """`conversation` is a pseudonym, so that the trace does not identify people."""
        self._begun = True
        self.name = "turn"
        self.attributes |= {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "databricks-agent",
            "bot.channel": channel,
            "gen_ai.conversation.id": conversation,
        }

    def fail(self, error: BaseException | str) -> None:
        if self.error is None and isinstance(error, BaseException):
            self.stack = _stack(error)
        super().fail(error)

    def shown(self) -> bool:
        """Called when something has reached the person; returns whether it was the first."""
        if self._first_update is not None:
            return False
        self._first_update = self.attributes["agent.time_to_first_update"] = round(self.seconds, 4)
        return True

    def end(self) -> None:
        if self._begun and not self.ended:
            self._count()
        if self.error is not None:
            self.attributes["agent.error_id"] = error_id_of(self.trace_id)
        super().end()

    def _count(self) -> None:
        if self.outcome is None:
            self.fail("Cancelled")
        outcome = "failed" if self.error is not None else str(self.outcome)
        self.attributes["agent.outcome"] = outcome
        by = {"bot.channel": self.attributes["bot.channel"], "agent.outcome": outcome}
        figures: list[tuple[Instrument, float]] = [(TURNS, 1), (TURN_DURATION, self.seconds)]
        if self._first_update is not None:
            figures.append((TIME_TO_FIRST_UPDATE, self._first_update))
        for instrument, value in figures:
            self.measured(Measurement(instrument, value, by))
        if self.error is not None:
            self.measured(Measurement(FAILURES, 1, {"bot.channel": by["bot.channel"], "error.type": self.error}))


_turn: ContextVar[TurnSpan | None] = ContextVar("current turn", default=None)


def current_turn() -> TurnSpan | None:
    return _turn.get()


@contextmanager
def traced(turn: TurnSpan) -> Iterator[TurnSpan]:
    """Spans that start inside belong to `turn`, which ends with the block."""
    token = _turn.set(turn)
    try:
        with turn, as_current(turn):
            yield turn
    finally:
        _turn.reset(token)


def turn_resumed(channel: str) -> None:
    if (turn := current_turn()) is not None:
        turn.measured(Measurement(TURNS_RESUMED, 1, {"bot.channel": channel}))


def hand_over_missing(failure: Exception) -> None:
    if (turn := current_turn()) is not None:
        turn.measured(Measurement(HAND_OVERS_MISSING, 1, {"error.type": type(failure).__name__}))


def circuit_breaker_changed(name: str, state: str) -> None:
    """`name` of the remote, `state` that its circuit breaker has now: closed or open."""
    if (turn := current_turn()) is not None:
        attributes = {"agent.circuit_breaker.name": name, "agent.circuit_breaker.state": state}
        turn.measured(Measurement(CIRCUIT_BREAKER_CHANGES, 1, attributes))


def feedback_given(reaction: str) -> None:
    if (turn := current_turn()) is not None:
        turn.measured(Measurement(FEEDBACK, 1, {"agent.reaction": reaction}))


def turn_failed(error: BaseException | str) -> None:
    if (turn := current_turn()) is not None:
        turn.fail(error)


def turn_ended(outcome: Outcome) -> None:
    if (turn := current_turn()) is not None:
        turn.outcome = outcome


def something_shown() -> bool:
    """Called when something has reached the person; returns whether it was the first in this turn."""
    turn = current_turn()
    return turn is not None and turn.shown()


def _stack(error: BaseException) -> str:
    """The stack of the error and of its causes: files, lines and types, without messages."""
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < _MAX_CAUSES:
        told.append(f"{type(cause).__qualname__}\n{''.join(traceback.format_tb(cause.__traceback__, -30))}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "caused by ".join(told)


def read_traceparent(header: str | None) -> tuple[int | None, int | None]:
    """The ids of the trace and of the caller's span; None where the header is not valid."""
    match = _TRACEPARENT.fullmatch(header or "")
    if match is None or match[0].startswith("ff"):
        return None, None
    trace_id, parent_id = int(match[1], 16), int(match[2], 16)
    return (trace_id, parent_id) if trace_id and parent_id else (None, None)
