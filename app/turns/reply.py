"""What a channel offers to a turn: a place to write events to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from app.agent.events import Event
from app.turns.checkpoint import Checkpoint


class UndeliveredError(Exception):
    """The channel accepts nothing at the moment: what is missing may be sent later."""


class SaveCheckpoint(Protocol):
    """Saves how far a reply has come; called before that is shown.

    Raises `LeaseLostError`, and `CheckpointError` before the end of the answer.
    """

    async def __call__(self, checkpoint: Checkpoint, /) -> None: ...


class CheckpointError(Exception):
    """Storage does not answer: anything but the end of the answer can wait."""


class LeaseLostError(Exception):
    """Another worker has this turn: nothing more may be sent."""


async def discard_checkpoint(_: Checkpoint) -> None:
    """For a reply that no other worker can continue."""


class Reply(Protocol):
    """Writes events as the channel allows. `begin`, `write` and `finish` come in that order, never two at once."""

    async def begin(self, save_checkpoint: SaveCheckpoint = discard_checkpoint, /) -> None:
        """Shows that somebody is at work, until something is written; returns at once. Opens no stream: that of an
        earlier turn may still be open, and a chat has one at a time.
        """
        ...

    async def write(self, event: Event) -> None:
        """Takes an event and returns without waiting for its sending. An end is saved when it is written, or sent at
        the same time.
        """
        ...

    async def finish(self) -> None:
        """Returns when everything that was written has been sent.

        Raises `UndeliveredError`, `LeaseLostError`, or what prevents the person from ever seeing the end.
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

    @property
    def activity_id(self) -> str | None:
        """The channel's id of the last message of the answer, where it gave one: feedback names it."""
        ...
