"""What the tools of a turn have answered, so that a worker that goes on with the turn does not call them again."""

from __future__ import annotations

from typing import Protocol


class ToolJournal(Protocol):
    """`output` is text of the agent's own (JSON): the journal keeps it with the turn, in its row or as an artifact."""

    async def find(self, name: str, arguments: str) -> str | None:
        """The output that the same call had earlier in this turn; None if there was none, or it cannot be read."""
        ...

    async def record(self, call_id: str, name: str, arguments: str, output: str) -> None:
        """Returns once it is kept, or cannot be: then a worker that goes on calls the tool again.

        Raises `app.turns.reply.LeaseLostError` where another worker has the turn.
        """
        ...


class NoJournal:
    """For turns that nobody can go on with."""

    async def find(self, name: str, arguments: str) -> str | None:
        return None

    async def record(self, call_id: str, name: str, arguments: str, output: str) -> None:
        pass
