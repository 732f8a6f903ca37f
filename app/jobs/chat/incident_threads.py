"""Which incident a thread of a channel, or the newest message about one in a chat, is about."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Final

from app.jobs.chat.watches import chat_digest
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore, delete_all
from app.storage.storage_errors import ConcurrentUpdateError

JOB_THREADS: Final = Collection("job_threads", retention_days=400)

_NEWEST = "newest"


class IncidentThreads:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def add(self, chat: ConversationKey, activity_id: str, incident_id: str) -> None:
        """`activity_id` is the channel's id of the first message about the incident."""
        for name in filter(None, (activity_id, _NEWEST)):
            key = _key(chat, name)
            document = await self._documents.get(key) or Document(key, "")
            with suppress(ConcurrentUpdateError):
                await self._documents.put(replace(document, value=incident_id))

    async def find(self, conversation: ConversationKey) -> str:
        """The id of the thread's incident; outside of a thread that of the chat's newest one; empty without any."""
        document = await self._documents.get(_key(conversation, conversation.thread or _NEWEST))
        return "" if document is None else document.value

    async def forget(self, chat: ConversationKey) -> None:
        await delete_all(self._documents, JOB_THREADS, chat.tenant, prefix=f"{chat_digest(chat)}/")


def _key(chat: ConversationKey, name: str) -> DocumentKey:
    return DocumentKey(JOB_THREADS, chat.tenant, f"{chat_digest(chat)}/{name}")
