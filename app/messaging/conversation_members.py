"""What the channel knows of a person in a conversation, beyond what comes with an activity. `bot/` asks it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.common.caller import Caller
from app.storage.conversations import ConversationKey


class MembersUnavailableError(Exception):
    """The channel did not answer."""


@dataclass(frozen=True, slots=True)
class ConversationMember:
    """`user_id` and `entra_object_id` as in `Caller`. `addresses` are e-mail address and user principal name. Guests
    are those of another tenant, and people without an account.
    """

    user_id: str
    entra_object_id: str
    name: str
    addresses: tuple[str, ...]
    is_guest: bool


class ConversationMembers(Protocol):
    """Both methods return None for somebody who is no member, or where the channel does not tell.

    They raise `MembersUnavailableError` and `app.storage.storage_errors.StorageError`.
    """

    async def find(self, conversation: ConversationKey, caller: Caller) -> ConversationMember | None: ...

    async def find_by_entra_id(
        self, conversation: ConversationKey, entra_object_id: str
    ) -> ConversationMember | None: ...
