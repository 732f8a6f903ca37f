"""What answers a turn: an agent, and commands that need none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Protocol

from app.agent.events import End, Event
from app.agent.journal import ToolJournal
from app.agent.turn import Turn
from app.common.cancellation import Cancellation
from app.storage.conversations import StoredMessage


class Answerer(Protocol):
    def answer(
        self,
        turn: Turn,
        history: Sequence[StoredMessage],
        *,
        said: str | None = None,
        journal: ToolJournal | None = None,
        approvals: Mapping[str, bool] | None = None,
        cancellation: Cancellation | None = None,
        deadline: float = ...,
    ) -> AsyncGenerator[Event, None]:
        """As `app.agent.agent.Agent.answer`."""
        ...


class CommandAnswerer(Protocol):
    async def answer(self, turn: Turn) -> End | None:
        """None for a turn that is no command."""
        ...


class NoCommands:
    """Every turn is a question."""

    async def answer(self, turn: Turn) -> End | None:
        return None
