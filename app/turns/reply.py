"""What a door offers to a turn: a place to write events to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from app.agent.events import Event


class Reply(Protocol):
    """Writes events as the channel allows. `begin`, `write` and `finish` come in that order, never two at once."""

    async def begin(self) -> None:
        """Gives the first sign of life without waiting for it to arrive."""
        ...

    async def write(self, event: Event) -> None:
        """Takes an event; sending is the reply's own affair and is not waited for."""
        ...

    async def finish(self) -> None:
        """Returns when all that was written has been sent; raises what keeps the person from seeing its end."""
        ...

    async def abandon(self) -> None:
        """Ends whatever the reply has under way, sending nothing more. Safe at any time, and more than once."""
        ...

    def when_stopped(self, stop: Callable[[], object]) -> None:
        """Calls `stop` once if the person presses Stop."""
        ...

    @property
    def stopped(self) -> bool: ...

    @property
    def shown(self) -> str:
        """The part of the answer's text that the person has seen so far."""
        ...
