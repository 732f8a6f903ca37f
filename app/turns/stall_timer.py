"""How long the turn that another one waits for has shown no sign of life."""

from __future__ import annotations

from dataclasses import dataclass

from app.storage.ledger import Predecessor

NO_PREDECESSOR = Predecessor(0, 0.0)


@dataclass(frozen=True, slots=True)
class StallTimer:
    """`stalled_for_seconds` is how long `predecessor` has been observed unchanged after its lease had ended.

    Time in which nobody looked does not count: an outage delays all turns alike.
    """

    predecessor: Predecessor = NO_PREDECESSOR
    stalled_for_seconds: float = 0.0

    def observed(self, predecessor: Predecessor, *, now: float, watched_seconds: float) -> StallTimer:
        """The timer after another look, `watched_seconds` after the one before."""
        unchanged = predecessor == self.predecessor and predecessor.lease_until <= now
        return StallTimer(predecessor, self.stalled_for_seconds + watched_seconds if unchanged else 0.0)


NOT_STALLED = StallTimer()
