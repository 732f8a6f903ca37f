"""Questions that Genie has answered lately: the same one runs the same SQL again, and costs no question."""

from __future__ import annotations

import hashlib
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, ValidationError

from app.common.identity import RequestIdentity, identity_key
from app.genie.genie_message import GenieMessage, GenieQuery
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

_KNOWN = Collection("genie_known_questions", retention_days=1)


class KnownQuestion(BaseModel):
    """Where Genie has the query. Nothing of its answer is kept: the data may have changed."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    conversation_id: str
    message_id: str
    attachment_id: str
    sql: str
    title: str
    description: str
    follow_ups: tuple[str, ...] = ()
    answered_at_seconds: float

    @property
    def message(self) -> GenieMessage:
        query = GenieQuery(self.attachment_id, self.sql, self.title, self.description)
        return GenieMessage(
            self.conversation_id, self.message_id, "QUERY_RESULT_EXPIRED", query, follow_ups=self.follow_ups
        )


class KnownQuestions:
    """Of each space and identity, whichever chat asked. `for_seconds` 0 knows none. Failing storage knows none."""

    def __init__(self, documents: DocumentStore, for_seconds: float, *, clock: Callable[[], float] = time.time) -> None:
        self._documents = documents
        self._for_seconds = for_seconds
        self._clock = clock

    async def find(self, tenant: str, id: str) -> KnownQuestion | None:
        if not self._for_seconds:
            return None
        with suppress(StorageError, ValidationError):
            document = await self._documents.get(DocumentKey(_KNOWN, tenant, id))
            known = None if document is None else KnownQuestion.model_validate_json(document.value)
            if known is not None and known.answered_at_seconds > self._clock() - self._for_seconds:
                return known
        return None

    async def save(self, tenant: str, id: str, message: GenieMessage, query: GenieQuery) -> None:
        if not self._for_seconds:
            return
        known = KnownQuestion(
            conversation_id=message.conversation_id,
            message_id=message.message_id,
            attachment_id=query.attachment_id,
            sql=query.sql,
            title=query.title,
            description=query.description,
            follow_ups=message.follow_ups,
            answered_at_seconds=self._clock(),
        )
        key = DocumentKey(_KNOWN, tenant, id)
        # Whoever saves at the same time saves the same.
        with suppress(StorageError, ConcurrentUpdateError):
            found = await self._documents.get(key)
            await self._documents.put(Document(key, known.model_dump_json(), version=found.version if found else ""))

    async def forget(self, tenant: str, id: str) -> None:
        """Raises `StorageError`."""
        await self._documents.delete(DocumentKey(_KNOWN, tenant, id))


def known_id(space: str, identity: RequestIdentity, question: str) -> str:
    """The same for questions that differ in case, spaces and the last mark alone."""
    words = unicodedata.normalize("NFKC", question).casefold().split()
    text = "\0".join([space, identity_key(identity), " ".join(words).rstrip(" ?.!")])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
