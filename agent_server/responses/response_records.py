"""What is kept of a stored response beside its events."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from app.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from app.storage.conversations import ConversationKey
from app.storage.documents import MAX_DOCUMENT_CHARACTERS, Collection, Document, DocumentKey, DocumentStore
from app.storage.ledger import TurnKey
from app.storage.storage_errors import ConcurrentUpdateError

_log = logging.getLogger(__name__)

_MAX_REQUEST_CHARACTERS: Final = MAX_DOCUMENT_CHARACTERS - 20_000
_MAX_TRIES = 8


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """`turn` is the id of the response whose turn answers: its own, or the one that a decision continues. Of that
    turn's record `writes_to` names the response whose log the turn writes to now.

    `request` is what the handler gets. `user_id` is the person as whom Databricks is asked; empty for the app.
    `trace_id` is the trace of one that failed or was stopped. Times are in seconds since 1970.
    """

    id: str
    conversation: str
    turn: str
    created_at: float
    question: str = ""
    previous: str = ""
    ancestors: tuple[str, ...] = ()
    background: bool = False
    user_id: str = ""
    user_name: str = ""
    writes_to: str = ""
    trace_id: str = ""
    request: dict[str, Any] = field(default_factory=dict)

    def turn_key(self, tenant: str) -> TurnKey:
        return TurnKey(ConversationKey(tenant, self.conversation), self.turn)


_ADAPTER: Final = TypeAdapter(ResponseRecord)


class ResponseRecords:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, artifacts: ArtifactStore, *, retention_days: float) -> None:
        self._documents = documents
        self._artifacts = artifacts
        self._collection = Collection("responses", retention_days)

    async def create(self, tenant: str, record: ResponseRecord) -> ResponseRecord:
        """The record, or the one with its id that was there before. A large request is an artifact of the conversation,
        with the question that is part of it.
        """
        stored = record
        text = json.dumps({"request": record.request, "question": record.question}, ensure_ascii=False)
        if len(text) > _MAX_REQUEST_CHARACTERS:
            content = text.encode("utf-8", "replace")
            await self._artifacts.put(Artifact(_request_key(tenant, record), content, "application/json"))
            stored = replace(record, request={}, question="")
        try:
            await self._documents.put(self._document(tenant, stored))
        except ConcurrentUpdateError:
            return await self.find(tenant, record.id) or record
        return record

    async def find(self, tenant: str, id: str) -> ResponseRecord | None:
        document = await self._documents.get(DocumentKey(self._collection, tenant, id))
        record = _parse(document)
        if record is None or record.request:
            return record
        artifact = await self._artifacts.get(_request_key(tenant, record))
        return record if artifact is None else replace(record, **json.loads(artifact.content))

    async def update(
        self, tenant: str, id: str, change: Callable[[ResponseRecord], ResponseRecord]
    ) -> ResponseRecord | None:
        """`change` is called again where another worker wrote meanwhile. None for an unknown response."""
        for _ in range(_MAX_TRIES):
            document = await self._documents.get(DocumentKey(self._collection, tenant, id))
            record = _parse(document)
            if document is None or record is None:
                return None
            changed = change(record)
            try:
                await self._documents.put(replace(document, value=_ADAPTER.dump_json(changed).decode()))
            except ConcurrentUpdateError:
                continue
            return changed
        raise ConcurrentUpdateError

    async def delete(self, tenant: str, record: ResponseRecord) -> None:
        await self._artifacts.delete(_request_key(tenant, record))
        await self._documents.delete(DocumentKey(self._collection, tenant, record.id))

    def _document(self, tenant: str, record: ResponseRecord) -> Document:
        return Document(DocumentKey(self._collection, tenant, record.id), _ADAPTER.dump_json(record).decode())


def _request_key(tenant: str, record: ResponseRecord) -> ArtifactKey:
    return ArtifactKey(ConversationKey(tenant, record.conversation), f"request/{record.id}")


def _parse(document: Document | None) -> ResponseRecord | None:
    if document is None:
        return None
    try:
        return _ADAPTER.validate_json(document.value)
    except ValidationError:
        _log.warning("A stored response cannot be read; it counts as unknown")
        return None
