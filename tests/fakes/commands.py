"""Commands of an agent that knows who it is."""

from __future__ import annotations

from app.agent.commands import About, Commands
from app.databricks.workspace_client import Identity
from app.storage.conversations import ConversationLog

ANN = Identity("ann@example.com", "Ann")


def commands_of(log: ConversationLog, identity: Identity | None = ANN) -> Commands:
    async def about() -> About:
        return About("m", "w.example", "personal access token", identity)

    return Commands(log, about)
