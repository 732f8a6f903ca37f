"""What a person can type instead of a question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.agent.turn import Turn
from app.storage.conversations import ConversationLog

HELP = """\
Ask me anything in your own words; I answer with a model in your Databricks workspace and remember this conversation.

- **/reset** – start afresh, without what was said before
- **/forget** – delete what I have kept of this conversation
- **/about** – which model answers, and with whose access
- **/help** – this text

In a group or channel, mention me so that I know you mean me."""

FORGOTTEN = (
    "Done: I have deleted what was said in this conversation. What stands in the chat itself is yours to delete."
)


@dataclass(frozen=True, slots=True)
class About:
    model: str
    workspace: str
    access: str


class Commands:
    def __init__(self, log: ConversationLog, about: Callable[[], About]) -> None:
        self._log = log
        self._about = about

    async def answer(self, turn: Turn) -> str | None:
        """The answer to a command, None if the question is none."""
        match turn.question.strip().lower():
            case "/help":
                return HELP
            case "/about":
                about = self._about()
                return (
                    f"Model: **{about.model}**\n\nWorkspace: {about.workspace}\n\n"
                    f"Access: {about.access}. Everybody who talks to me here sees what that identity may see."
                )
            case "/forget":
                await self._log.forget(turn.conversation)
                return FORGOTTEN
            case "/reset":
                await self._log.forget(turn.conversation)
                return "Done: I have forgotten this conversation. What would you like to know?"
            case "" if not turn.unread:
                return HELP
        return None
