"""The channel's pacing rules, read from what arrived: one update per second and conversation, never two in flight."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from benchmarks.records import Send, Turn

SPACING = 1.0
TOLERANCE = 0.005


def breaches(sends: Sequence[Send]) -> int:
    """How many sends came less than a second after the one before, or before that one was answered."""
    return sum(_breaks(earlier, later) for earlier, later in pairwise(sorted(sends, key=lambda send: send.arrived)))


def _breaks(earlier: Send, later: Send) -> bool:
    too_soon = later.arrived - earlier.arrived < SPACING - TOLERANCE
    in_flight = later.arrived < earlier.answered
    return too_soon or in_flight


def final_allowed(turn: Turn) -> float | None:
    """The earliest instant at which the final message may arrive, None if the turn was not answered."""
    if turn.final is None or turn.last_token is None:
        return None
    before = [send for send in turn.sends if send.arrived < turn.final.arrived]
    if not before:
        return turn.last_token
    return max(turn.last_token, before[-1].arrived + SPACING, before[-1].answered)


def final_lateness(turn: Turn) -> float | None:
    """Seconds from the instant that the pacing allows to the arrival of the final message."""
    allowed = final_allowed(turn)
    return None if allowed is None or turn.final is None else turn.final.arrived - allowed
