"""What was said in a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """`thread` is empty, or one of the threads of a conversation, whose messages are kept apart from the others'."""

    tenant: str
    conversation: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """`complete` is false for an answer that was cut off.

    `blocks` (what was shown beside the text) and `caller` (who asked) are JSON text, empty if there is none.
    `activity_id` is the id that the channel gave to the message, empty if unknown.
    """

    role: Literal["user", "assistant"]
    text: str
    complete: bool = True
    blocks: str = ""
    activity_id: str = ""
    caller: str = ""


class ConversationHistory(Protocol):
    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        """The last `limit` messages, oldest first. It takes no longer for a longer conversation."""
        ...

    async def remove_exchange(self, key: ConversationKey, activity_id: str) -> None:
        """Deletes the answer with the channel's id `activity_id`, and its question. A missing one is no error."""
        ...

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        """Deletes messages and artifacts; with `threads` those of all threads of the conversation too.

        The ledger stays, so that repeats of earlier questions are still known; it has no text of closed turns. What is
        suspended is closed, as failed.
        """
        ...

    async def ping(self) -> None:
        """Reads one row, to see whether storage answers. Raises `app.storage.storage_errors.StorageError`."""
        ...

    async def close(self) -> None: ...
