"""One question in one conversation, whichever door it came in by."""

from __future__ import annotations

from dataclasses import dataclass

from app.storage.conversations import ConversationKey


@dataclass(frozen=True, slots=True)
class Turn:
    """`question` is exactly what was typed, without the mention of the bot.

    `unread` names the attachments that came with the question and that nobody can read.
    """

    id: str
    conversation: ConversationKey
    question: str
    unread: tuple[str, ...] = ()
    locale: str = ""
