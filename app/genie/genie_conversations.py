"""Which conversation in Genie a chat continues: one for each chat, space and identity."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from app.common.identity import APP_IDENTITY, RequestIdentity, identity_key
from app.databricks.genie_api import GenieApi
from app.databricks.workspace_errors import WorkspaceError
from app.genie.known_questions import KnownQuestions
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

_CONVERSATIONS = Collection("genie_conversations", retention_days=90)
_OWNERS = Collection("genie_conversation_owners", retention_days=90)
_MAX_MESSAGES = 20
_DELETED_AT_ONCE = 8


class AskedMessage(BaseModel):
    """`call` is the idempotency key of the tool call that asked it."""

    model_config = ConfigDict(frozen=True)

    call: str
    message_id: str


class PendingQuestion(BaseModel):
    """Saved before Genie is asked: whoever finds it after a crash looks whether the question arrived."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    call: str
    question: str
    asked_at_seconds: float


class GenieConversation(BaseModel):
    """`conversation_id` is empty until Genie has taken the first question. `known` are ids of `KnownQuestions`. `mode`
    is "agent" for Genie's agent mode, which goes on in conversations of its own.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    space: str
    identity: str
    mode: str = ""
    conversation_id: str = ""
    messages: tuple[AskedMessage, ...] = ()
    pending: PendingQuestion | None = None
    known: tuple[str, ...] = ()

    def message_of(self, call: str) -> str | None:
        return next((each.message_id for each in self.messages if each.call == call), None)

    def asking(self, pending: PendingQuestion) -> GenieConversation:
        return self.model_copy(update={"pending": pending})

    def asked(self, conversation_id: str, message: AskedMessage, known: str) -> GenieConversation:
        """`known` is kept where it is the first question: what another one means depends on those before it."""
        if conversation_id == self.conversation_id:
            return self.model_copy(update={"messages": (*self.messages, message)[-_MAX_MESSAGES:], "pending": None})
        return GenieConversation(
            space=self.space,
            identity=self.identity,
            mode=self.mode,
            conversation_id=conversation_id,
            messages=(message,),
            known=(*self.known, known)[-_MAX_MESSAGES:],
        )


class GenieConversations:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, known: KnownQuestions) -> None:
        self._documents = documents
        self._known = known

    async def find(
        self, conversation: ConversationKey, space: str, identity: RequestIdentity, mode: str = ""
    ) -> GenieConversation:
        """A new one where the chat has none."""
        new = GenieConversation(space=space, identity=identity_key(identity), mode=mode)
        document = await self._documents.get(_key(conversation, new))
        found = None if document is None else _parse(document)
        return found or new

    async def save(self, conversation: ConversationKey, latest: GenieConversation) -> None:
        key = _key(conversation, latest)
        while True:
            found = await self._documents.get(key)
            with suppress(ConcurrentUpdateError):
                await self._documents.put(
                    Document(key, latest.model_dump_json(), version=found.version if found else "")
                )
                return

    async def own(self, conversation: ConversationKey, kept: GenieConversation, id: str) -> bool:
        """Whether the chat owns Genie's conversation `id`, from now on or already: one chat alone does."""
        owner = _key(conversation, kept).id
        key = DocumentKey(_OWNERS, conversation.tenant, id)
        try:
            await self._documents.put(Document(key, owner))
        except ConcurrentUpdateError:
            found = await self._documents.get(key)
            return found is not None and found.value == owner
        return True

    async def forget(self, conversation: ConversationKey, genie: GenieApi, *, threads: bool = False) -> None:
        """Deletes what is kept of the chat, with `threads` of all threads in it, and as the app its conversations in
        Genie, as far as Genie lets it.
        """
        at_once = asyncio.Semaphore(_DELETED_AT_ONCE)

        async def delete(document: Document) -> None:
            async with at_once:
                await self._delete(document, genie)

        prefix = f"{_digest(conversation.conversation)}/" if threads else _prefix(conversation)
        while documents := (
            await self._documents.list_page(_CONVERSATIONS, conversation.tenant, prefix=prefix)
        ).documents:
            await asyncio.gather(*map(delete, documents))

    async def _delete(self, document: Document, genie: GenieApi) -> None:
        kept = _parse(document)
        for id in kept.known if kept is not None else ():
            await self._known.forget(document.key.tenant, id)
        if kept is not None and kept.conversation_id:
            if kept.identity == identity_key(APP_IDENTITY):
                with suppress(WorkspaceError):
                    await genie.delete_conversation(kept.space, kept.conversation_id, APP_IDENTITY)
            await self._documents.delete(DocumentKey(_OWNERS, document.key.tenant, kept.conversation_id))
        await self._documents.delete(document.key)


def _parse(document: Document) -> GenieConversation | None:
    try:
        return GenieConversation.model_validate_json(document.value)
    except ValidationError:
        return None


def _key(conversation: ConversationKey, kept: GenieConversation) -> DocumentKey:
    id = f"{_prefix(conversation)}{kept.space}/{kept.identity}{kept.mode and '/'}{kept.mode}"
    return DocumentKey(_CONVERSATIONS, conversation.tenant, id)


def _prefix(conversation: ConversationKey) -> str:
    return f"{_digest(conversation.conversation)}/{_digest(conversation.thread)}/"


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:32]
