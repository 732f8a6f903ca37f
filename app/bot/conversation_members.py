"""The members of conversations, as Teams tells of them.

https://learn.microsoft.com/microsoftteams/platform/bots/how-to/get-teams-context#get-single-member-details
"""

from __future__ import annotations

import logging

from app.bot.connector.connector_client import ConnectorClient, Json
from app.bot.connector.send_errors import SendError, SendRefusedError
from app.common.caller import Caller
from app.common.json_values import text
from app.messaging.conversation_members import ConversationMember, MembersUnavailableError
from app.messaging.conversation_references import ConversationReferences
from app.storage.conversations import ConversationKey

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 3.0
# In the user principal name of a guest.
_EXTERNAL = "#ext#"


class ChannelMembers:
    """An `app.messaging.conversation_members.ConversationMembers`."""

    def __init__(self, connector: ConnectorClient, references: ConversationReferences) -> None:
        self._connector = connector
        self._references = references

    async def find(self, conversation: ConversationKey, caller: Caller) -> ConversationMember | None:
        return await self._find(conversation, caller.user_id)

    async def find_by_entra_id(self, conversation: ConversationKey, entra_object_id: str) -> ConversationMember | None:
        return await self._find(conversation, entra_object_id)

    async def _find(self, conversation: ConversationKey, id: str) -> ConversationMember | None:
        # The first message of a conversation may have brought its reference a moment ago.
        await self._references.flush()
        reference = await self._references.find(conversation)
        if reference is None or not id:
            return None
        try:
            told = await self._connector.member(
                reference.service_url, reference.conversation_id, id, retry_seconds=_RETRY_SECONDS
            )
        except SendRefusedError as refusal:
            _log.info("The channel does not tell of a member (%s)", type(refusal).__name__)
            return None
        except SendError as failure:
            raise MembersUnavailableError from failure
        return _member(told, conversation.tenant)


def _member(told: Json, tenant: str) -> ConversationMember:
    principal, role = text(told.get("userPrincipalName")), text(told.get("userRole")).lower()
    home = text(told.get("tenantId")).lower()
    return ConversationMember(
        user_id=text(told.get("id")),
        entra_object_id=text(told.get("aadObjectId")) or text(told.get("objectId")),
        name=text(told.get("name")),
        addresses=tuple(dict.fromkeys(filter(None, (principal, text(told.get("email")))))),
        is_guest=role in {"guest", "anonymous"}
        or _EXTERNAL in principal.lower()
        or bool(home and home != tenant.lower()),
    )
