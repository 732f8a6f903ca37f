"""Commands of an agent that knows who it is."""

from __future__ import annotations

from app.agent.commands import About, Commands
from app.databricks.current_user import CurrentUser
from app.storage.conversations import ConversationLog

ANN = CurrentUser("ann@example.com", "Ann")


def commands_of(log: ConversationLog, user: CurrentUser | None = ANN) -> Commands:
    async def about() -> About:
        return About("m", "w.example", "personal access token", user)

    return Commands(log, about)
