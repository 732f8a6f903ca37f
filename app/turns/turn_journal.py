"""What the agent records of a turn's tool calls, kept with the turn's checkpoint."""

from __future__ import annotations

from app.agent.journal import JournalUnreadableError
from app.turns.lease import TurnLease


class TurnJournal:
    """Implements `app.agent.journal.ToolJournal`."""

    def __init__(self, lease: TurnLease) -> None:
        self._lease = lease

    async def load(self) -> str:
        """Raises `StorageError`, and `JournalUnreadableError` where it has been deleted, as by `/forget`."""
        journal = await self._lease.load_journal()
        if journal is None:
            raise JournalUnreadableError("its artifact is gone")
        return journal

    async def save(self, recorded: str) -> None:
        """Raises `StorageError` and `LeaseLostError`."""
        await self._lease.save_journal(recorded)
