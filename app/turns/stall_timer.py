"""How long the turn that another has to wait for has shown no sign of life."""

from __future__ import annotations

from dataclasses import dataclass

from app.storage.ledger import Predecessor

NOBODY = Predecessor(0, 0.0)


@dataclass(frozen=True, slots=True)
class StallTimer:
    """`stalled_for_seconds` is how long `ahead` has been seen unchanged after its lease had ended.

    Time in which nobody looked does not count: an outage holds up all turns alike.
    """

    ahead: Predecessor = NOBODY
    stalled_for_seconds: float = 0.0

    def seen(self, ahead: Predecessor, *, now: float, after: float) -> StallTimer:
        """What a look finds `after` so many seconds of watching."""
        unchanged = ahead == self.ahead and ahead.lease_until <= now
        return StallTimer(ahead, self.stalled_for_seconds + after if unchanged else 0.0)


NOT_STALLED = StallTimer()
