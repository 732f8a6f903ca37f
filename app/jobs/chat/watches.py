"""Which chats watch which jobs of a workspace, in the store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore, list_all
from app.storage.storage_errors import ConcurrentUpdateError

JOB_WATCHES: Final = Collection("job_watches")
MAX_WATCHES: Final = 50
"""Of one chat."""

# With more jobs than that, all watches are read once.
_MAX_PREFIXES = 4


class TooManyWatchesError(Exception):
    """The chat watches `MAX_WATCHES` jobs."""


class Watch(BaseModel):
    """Of a chat or a channel, not of one of its threads. `job_name` is what it was when the watch began, `locale` that
    of the person who began it.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    job_id: int
    job_name: str
    tenant: str
    conversation: str
    locale: str = ""

    @property
    def key(self) -> ConversationKey:
        return ConversationKey(self.tenant, self.conversation)


class Watches:
    """Of one workspace. Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, *, workspace: str) -> None:
        self._documents = documents
        self._workspace = workspace

    async def add(self, watch: Watch) -> bool:
        """False where the chat watches the job already. Raises `TooManyWatchesError`."""
        watched = await self.of_chat(watch.key)
        if any(each.job_id == watch.job_id for each in watched):
            return False
        if len(watched) >= MAX_WATCHES:
            raise TooManyWatchesError
        with suppress(ConcurrentUpdateError):
            await self._documents.put(Document(self._key(watch.job_id, watch.key), watch.model_dump_json()))
        return True

    async def remove(self, job_id: int, chat: ConversationKey) -> None:
        await self._documents.delete(self._key(job_id, chat))

    async def of_jobs(self, job_ids: AbstractSet[int]) -> list[Watch]:
        """One for each chat that watches any of the jobs."""
        prefixes = [f"{job_id}/" for job_id in job_ids] if len(job_ids) <= _MAX_PREFIXES else [""]
        found = [watch for prefix in prefixes async for watch in self._all(prefix) if watch.job_id in job_ids]
        return list({watch.key: watch for watch in found}.values())

    async def of_chat(self, chat: ConversationKey) -> list[Watch]:
        """In the order of their jobs' names."""
        mine = [watch async for watch in self._all("") if watch.key == ConversationKey(chat.tenant, chat.conversation)]
        return sorted(mine, key=lambda watch: (watch.job_name.casefold(), watch.job_id))

    async def by_chat(self) -> Mapping[ConversationKey, Sequence[Watch]]:
        found: dict[ConversationKey, list[Watch]] = {}
        async for watch in self._all(""):
            found.setdefault(watch.key, []).append(watch)
        return found

    async def job_ids(self) -> frozenset[int]:
        """Every job that any chat watches."""
        return frozenset([watch.job_id async for watch in self._all("")])

    async def forget(self, chat: ConversationKey) -> None:
        for watch in await self.of_chat(chat):
            await self.remove(watch.job_id, chat)

    async def _all(self, prefix: str) -> AsyncIterator[Watch]:
        async for document in list_all(self._documents, JOB_WATCHES, self._workspace, prefix=prefix):
            with suppress(ValidationError):
                yield Watch.model_validate_json(document.value)

    def _key(self, job_id: int, chat: ConversationKey) -> DocumentKey:
        return DocumentKey(JOB_WATCHES, self._workspace, f"{job_id}/{chat_digest(chat)}")


def chat_digest(chat: ConversationKey) -> str:
    """The same for all threads of a chat."""
    text = f"{chat.tenant}\0{chat.conversation}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
