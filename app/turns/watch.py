"""How long the turns before one have shown no sign of life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Watch:
    """`until`, in seconds since 1970, is when the last of their leases ends; `still`, in seconds, how long it has been
    seen unchanged after that. Time in which nobody looked does not count: an outage holds up all turns alike.
    """

    until: float = 0.0
    still: float = 0.0

    def seen(self, until: float, *, now: float, after: float) -> Watch:
        """What a look finds `after` so many seconds of watching."""
        return Watch(until, self.still + after if until == self.until and until <= now else 0.0)


NOT_YET = Watch()
