"""Which conversation in Genie a chat continues: one for each chat, space and identity."""

from __future__ import annotations

import hashlib
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from app.common.identity import APP_IDENTITY, RequestIdentity, identity_key
from app.databricks.genie_api import GenieApi
from app.databricks.workspace_errors import WorkspaceError
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

_CONVERSATIONS = Collection("genie_conversations", retention_days=90)


class GenieConversation(BaseModel):
    """`call` is the idempotency key of the tool call that asked `message_id`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    space: str
    conversation_id: str
    message_id: str
    call: str
    identity: str


class GenieConversations:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def find(
        self, conversation: ConversationKey, space: str, identity: RequestIdentity
    ) -> GenieConversation | None:
        document = await self._documents.get(_key(conversation, space, identity))
        return None if document is None else _parse(document)

    async def save(self, conversation: ConversationKey, identity: RequestIdentity, latest: GenieConversation) -> None:
        key = _key(conversation, latest.space, identity)
        while True:
            found = await self._documents.get(key)
            with suppress(ConcurrentUpdateError):
                await self._documents.put(
                    Document(key, latest.model_dump_json(), version=found.version if found else "")
                )
                return

    async def delete(self, conversation: ConversationKey, space: str, identity: RequestIdentity) -> None:
        await self._documents.delete(_key(conversation, space, identity))

    async def forget(self, conversation: ConversationKey, genie: GenieApi) -> None:
        """Deletes what is kept of the chat, and as the app its conversations in Genie, as far as Genie lets it."""
        while documents := (await self._documents.list_page(
            _CONVERSATIONS, conversation.tenant, prefix=_prefix(conversation)
        )).documents:  # fmt: skip
            for document in documents:
                kept = _parse(document)
                if kept is not None and kept.identity == identity_key(APP_IDENTITY):
                    with suppress(WorkspaceError):
                        await genie.delete_conversation(kept.space, kept.conversation_id, APP_IDENTITY)
                await self._documents.delete(document.key)


def _parse(document: Document) -> GenieConversation | None:
    try:
        return GenieConversation.model_validate_json(document.value)
    except ValidationError:
        return None


def _key(conversation: ConversationKey, space: str, identity: RequestIdentity) -> DocumentKey:
    id = f"{_prefix(conversation)}{space}/{identity_key(identity)}"
    return DocumentKey(_CONVERSATIONS, conversation.tenant, id)


def _prefix(conversation: ConversationKey) -> str:
    digest = hashlib.sha256(f"{conversation.conversation}\0{conversation.thread}".encode("utf-8", "surrogatepass"))
    return f"{digest.hexdigest()[:32]}/"
