"""Messages that the bot sends without having been asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from app.storage.conversations import ConversationKey

if TYPE_CHECKING:
    from app.content.blocks import Block


class NoConversationReferenceError(Exception):
    """The bot cannot write to this conversation: it never could, was removed from it, or was told to forget it."""


@dataclass(frozen=True, slots=True)
class ProactiveMessage:
    """`id` is its idempotency key, unique within the tenant. `text` is Markdown.

    With a `thread`, the conversation of a Teams channel gets it in that thread.
    """

    id: str
    conversation: ConversationKey
    text: str
    blocks: tuple[Block, ...] = ()


class ProactiveSender(Protocol):
    async def send(self, message: ProactiveMessage) -> None:
        """Puts the message on the queue, from where it is delivered in the background, at the conversation's pace.

        It is delivered at least once; twice only where the channel did not say whether it took it. Messages of one
        conversation may overtake each other.
        Raises `NoConversationReferenceError`, `StorageError`, and `ValueError` for more than a queue message holds.
        """
        ...
