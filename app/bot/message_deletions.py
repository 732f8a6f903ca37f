"""Deletes messages of the bot's own from the queue."""

from __future__ import annotations

import logging

from app.bot.connector.connector_client import ConnectorClient
from app.bot.connector.send_errors import SendRefusedError
from app.bot.inbound.conversation_reference import target_of
from app.messaging.conversation_references import ConversationReferences
from app.turns.answer_removal import MessageDeletion

_log = logging.getLogger(__name__)

_DELETE_SECONDS = 20.0


class MessageDeletions:
    def __init__(self, connector: ConnectorClient, references: ConversationReferences) -> None:
        self._connector = connector
        self._references = references

    async def delete(self, body: bytes) -> None:
        """Handles queue messages of the kind `delete_message`. What it raises lets the host deliver them again."""
        deletion = MessageDeletion.from_json(body)
        reference = await self._references.find(deletion.key)
        if reference is None:
            _log.info("A message is not deleted: its conversation has no reference any more")
            return
        target = target_of(reference, deletion.thread)
        try:
            await self._connector.delete(
                target.service_url, target.conversation, deletion.activity_id, retry_seconds=_DELETE_SECONDS
            )
        except SendRefusedError as refusal:
            # Teams answers so for a message that is deleted already, with 403 or 404:
            # https://github.com/microsoft/BotFramework-Services/issues/269
            _log.info("The channel did not delete a message (%s)", refusal)
