"""Conversations that outlive a turn: the protocol that every storage engine keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """No state is ever shared between two tenants, or between two conversations of one.

    `thread` is one of the threads that a conversation may have: a conversation of its own, deleted with the whole.
    """

    tenant: str
    conversation: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """`blocks` (what was shown beside the text) and `caller` (who asked) are JSON text, empty if there is none.

    `activity_id` is the id that the channel gave the sent activity, empty if unknown.
    """

    role: Literal["user", "assistant"]
    text: str
    complete: bool = True
    blocks: str = ""
    activity_id: str = ""
    caller: str = ""


class ConversationLog(Protocol):
    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        """The last `limit` messages, oldest first. The cost does not grow with the conversation."""
        ...

    async def forget(self, key: ConversationKey, *, threads: bool = False) -> None:
        """Deletes what was said and every small record; with `threads` that of all its threads too.

        What is not there is no error. The ledger stays: it says which activities have been handled, not what was said.
        """
        ...

    async def ping(self) -> None:
        """Returns when conversations can be read, raises when they cannot. Costs little, changes nothing."""
        ...

    async def close(self) -> None: ...
