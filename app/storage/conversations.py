"""Conversations that outlive a turn: the protocol that every storage engine keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """No state is ever shared between two tenants, or between two conversations of one."""

    tenant: str
    conversation: str


@dataclass(frozen=True, slots=True)
class StoredMessage:
    role: Literal["user", "assistant"]
    text: str
    complete: bool = True


class ConversationLog(Protocol):
    async def recent(self, key: ConversationKey, limit: int) -> list[StoredMessage]:
        """The last `limit` messages, oldest first. The cost does not grow with the conversation."""
        ...

    async def append(self, key: ConversationKey, messages: Sequence[StoredMessage]) -> None:
        """All of `messages` or none of them."""
        ...

    async def forget(self, key: ConversationKey) -> None:
        """Deletes the conversation; deleting what is not there is no error."""
        ...

    async def ping(self) -> None:
        """Returns when conversations can be read, raises when they cannot. Costs little, changes nothing."""
        ...

    async def close(self) -> None: ...
