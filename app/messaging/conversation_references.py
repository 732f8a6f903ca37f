"""Conversation references: what is needed to send a message to a conversation that did not just write.

https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/send-proactive-messages
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

_log = logging.getLogger(__name__)

REFERENCES: Final = Collection("conversation_references", retention_days=400)

# A reference that stays the same is written again, so that the retention counts from the last activity.
_REWRITE_SECONDS = 30 * 24 * 3600.0
# How long this worker relies on what it knows to be stored: another may have deleted it.
_CACHE_SECONDS = 600.0
_MAX_CACHED = 2_000
PRIVATE_THREAD: Final = "/only "
"""In the name of a thread of targeted messages, which one person of a group sees."""

_MAX_RUNNING = 200
_SAVE_SECONDS = 10.0


class ConversationReference(BaseModel):
    """One conversation with all its threads; a field is empty where no activity named it.

    `conversation` is that of `app.storage.conversations.ConversationKey`, `conversation_id` the channel's own id.
    `user_id` and `entra_object_id` name the person of a personal chat, and `locale` is theirs. `saved_at` is in seconds
    since 1970.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    tenant_id: str
    conversation: str
    channel_id: str
    conversation_id: str
    conversation_type: str = ""
    service_url: str
    bot_id: str = ""
    bot_name: str = ""
    user_id: str = ""
    entra_object_id: str = ""
    locale: str = ""
    saved_at: float = 0.0

    def updated(self, newer: ConversationReference) -> ConversationReference:
        """With the fields of `newer`, and those of this one that `newer` does not know."""
        known = {name: value for name, value in newer.model_dump().items() if value and name != "saved_at"}
        return self.model_copy(update=known)


class ConversationReferences:
    """The references of all conversations, in the store. `clock` is in seconds since 1970."""

    def __init__(self, documents: DocumentStore, *, clock: Callable[[], float] = time.time) -> None:
        self._documents = documents
        self._clock = clock
        self._saving: dict[DocumentKey, asyncio.Task[None]] = {}
        self._cache: OrderedDict[DocumentKey, ConversationReference] = OrderedDict()
        self._closed = False

    def record(self, reference: ConversationReference) -> None:
        """Saves the reference in the background if it is new, changed, or was saved long ago.

        A failure is only logged: the next activity of the conversation brings the reference again.
        """
        key = _key(reference.tenant_id, reference.conversation)
        if self._closed or key in self._saving or len(self._saving) >= _MAX_RUNNING or self._is_known(key, reference):
            return
        task = asyncio.create_task(self._save(key, reference))
        self._saving[key] = task
        task.add_done_callback(lambda _: self._saving.pop(key, None))

    async def find(self, conversation: ConversationKey) -> ConversationReference | None:
        """The reference of the conversation that a thread belongs to. Raises `StorageError`."""
        document = await self._documents.get(_key(conversation.tenant, conversation.conversation))
        return None if document is None else _parse(document)

    async def can_write_to(self, conversation: ConversationKey) -> bool:
        """Whether the bot can send a message there that nobody asked for. Raises `StorageError`."""
        return PRIVATE_THREAD not in conversation.thread and await self.find(conversation) is not None

    async def forget(self, conversation: ConversationKey) -> None:
        """Deletes the reference, until the next activity of the conversation. Raises `StorageError`."""
        key = _key(conversation.tenant, conversation.conversation)
        if (saving := self._saving.get(key)) is not None:
            # Cancelled, it might be stored all the same, and after the deletion.
            await asyncio.wait([saving])
        self._cache.pop(key, None)
        await self._documents.delete(key)

    async def flush(self) -> None:
        """Waits until everything recorded so far is saved, or has failed."""
        if self._saving:
            await asyncio.wait(list(self._saving.values()))

    async def close(self, *, grace: float = 2.0) -> None:
        """Records nothing more. What has been recorded gets `grace` seconds to be saved."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.flush()
        for task in self._saving.values():
            task.cancel()
        await self.flush()

    def _is_known(self, key: DocumentKey, reference: ConversationReference) -> bool:
        cached = self._cache.get(key)
        if cached is None or self._clock() - cached.saved_at > _CACHE_SECONDS:
            return False
        return cached.updated(reference) == cached

    async def _save(self, key: DocumentKey, reference: ConversationReference) -> None:
        try:
            async with asyncio.timeout(_SAVE_SECONDS):
                known = await self._read_and_write(key, reference)
        except ConcurrentUpdateError:
            # Another worker has just saved it.
            return
        except (StorageError, TimeoutError) as failure:
            _log.warning("A conversation reference could not be saved (%s)", type(failure).__name__)
            return
        self._cache[key] = known.model_copy(update={"saved_at": self._clock()})
        self._cache.move_to_end(key)
        if len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)

    async def _read_and_write(self, key: DocumentKey, reference: ConversationReference) -> ConversationReference:
        document = await self._documents.get(key) or Document(key, "")
        stored = _parse(document)
        updated = reference if stored is None else stored.updated(reference)
        now = self._clock()
        if stored is None or updated != stored or now - stored.saved_at > _REWRITE_SECONDS:
            updated = updated.model_copy(update={"saved_at": now})
            await self._documents.put(Document(key, updated.model_dump_json(), version=document.version))
        return updated


def _key(tenant: str, conversation: str) -> DocumentKey:
    return DocumentKey(REFERENCES, tenant, conversation)


def _parse(document: Document) -> ConversationReference | None:
    try:
        return ConversationReference.model_validate_json(document.value) if document.value else None
    except ValidationError:
        # Written by a version that this one does not understand: it is replaced by the next activity.
        return None
