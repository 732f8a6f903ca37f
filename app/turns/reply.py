"""What a door offers to a turn: a place to write events to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from app.agent.events import Event
from app.turns.checkpoint import Checkpoint


class UndeliveredError(Exception):
    """The channel takes nothing at the moment: what is missing may be sent later."""


class SaveCheckpoint(Protocol):
    """Keeps where a reply has come to; called before that is shown. Raises `LeaseLostError`, and `CheckpointError`
    before the end."""

    async def __call__(self, progress: Checkpoint, /) -> None: ...


class CheckpointError(Exception):
    """Storage does not answer: what is not the end of the answer can wait."""


class LeaseLostError(Exception):
    """Another worker has this turn: say no more."""


async def discard_checkpoint(_: Checkpoint) -> None:
    """For a reply that nobody else can go on with."""


class Reply(Protocol):
    """Writes events as the channel allows. `begin`, `write` and `finish` come in that order, never two at once."""

    async def begin(self, keep: SaveCheckpoint = discard_checkpoint) -> None:
        """Shows that somebody is at work, until something is written, and waits for nothing. Opens no stream: that of
        an earlier turn may still be open, and a chat has one at a time.
        """
        ...

    async def write(self, event: Event) -> None:
        """Takes an event; sending is the reply's own affair and is not waited for. An end is kept as soon as it is
        written, or is sent as soon.
        """
        ...

    async def finish(self) -> None:
        """Returns when all that was written has been sent.

        Raises `UndeliveredError`, `LeaseLostError`, or what keeps the person from ever seeing its end.
        """
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
