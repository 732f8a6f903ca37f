"""The channel's pacing rules, read from what arrived: one request a second and stream, from the end of the one before.

A plain typing activity belongs to no stream, nor does an answer that is one message.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from benchmarks.load_records import SentActivity, TurnTiming

SPACING_SECONDS = 1.0
TOLERANCE_SECONDS = 0.005


def breaches(sends: Sequence[SentActivity]) -> int:
    """How many requests of a stream came less than a second after the one before was answered, or before it was."""
    streamed = sorted((send for send in sends if send.stream_type), key=lambda send: send.arrived)
    return sum(
        later.arrived < earlier.answered + SPACING_SECONDS - TOLERANCE_SECONDS for earlier, later in pairwise(streamed)
    )


def final_allowed(turn: TurnTiming) -> float | None:
    """The earliest instant at which the final message may arrive, None if the turn was not answered."""
    if turn.final is None or turn.last_token is None:
        return None
    before = [send.answered for send in turn.sends if send.stream_type and send.arrived < turn.final.arrived]
    return max([turn.last_token, *(answered + SPACING_SECONDS for answered in before[-1:] if turn.final.stream_type)])


def final_lateness(turn: TurnTiming) -> float | None:
    """Seconds from the instant that the pacing allows to the arrival of the final message."""
    allowed = final_allowed(turn)
    return None if allowed is None or turn.final is None else turn.final.arrived - allowed


def words_lateness(turn: TurnTiming) -> float | None:
    """Seconds from the model's first token to the first that shows some of the answer."""
    if turn.first_words is None or turn.first_token is None:
        return None
    return turn.first_words.arrived - turn.first_token
