"""The events of a stored response, in batches that are written once and never change."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from agent_server.responses.new_batches import NewBatches, NewBatchesWatch
from app.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from app.storage.conversations import ConversationKey
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore, list_all
from app.storage.storage_errors import ConcurrentUpdateError

ResponseEvents = Sequence[dict[str, Any]]

_MAX_ROW_CHARACTERS: Final = 70_000
_DIGITS = 6
_TERMINAL = frozenset({"response.completed", "response.failed", "response.incomplete"})


class BatchTakenError(Exception):
    """Somebody else has written the batch: another worker, or whoever cancelled the response."""


@dataclass(frozen=True, slots=True)
class LogKey:
    tenant: str
    conversation: str
    response_id: str


def is_terminal(events: ResponseEvents) -> bool:
    """Whether nothing follows these events."""
    return bool(events) and events[-1]["type"] in _TERMINAL


class EventLog:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, artifacts: ArtifactStore, *, retention_days: float) -> None:
        self._documents = documents
        self._artifacts = artifacts
        self._collection = Collection("response_events", retention_days)
        self._new = NewBatches()

    async def append(self, key: LogKey, batch: int, events: ResponseEvents, *, writer: str = "") -> None:
        """Writes `batch`, the first being 0. Raises `BatchTakenError` where it has been written by another `writer`;
        the same call may be repeated.
        """
        writer = writer or uuid.uuid4().hex
        text = json.dumps(list(events), ensure_ascii=False, separators=(",", ":"))
        where = f'"events":{text}'
        if len(text) > _MAX_ROW_CHARACTERS:
            name = f"events/{key.response_id}/{batch}/{writer}"
            content = text.encode("utf-8", "surrogatepass")
            await self._artifacts.put(Artifact(_artifact_key(key, name), content, "application/json"))
            where = f'"artifact":{json.dumps(name)}'
        document_key = self._key(key, batch)
        try:
            await self._documents.put(Document(document_key, f'{{"v":1,"writer":"{writer}",{where}}}'))
        except ConcurrentUpdateError:
            found = await self._documents.get(document_key)
            if found is None or json.loads(found.value)["writer"] != writer:
                raise BatchTakenError from None
        self._new.publish(key.response_id, batch, events)

    async def read(self, key: LogKey, batch: int) -> ResponseEvents | None:
        """None for a batch that is not written yet."""
        found = await self._documents.get(self._key(key, batch))
        return None if found is None else await self._events(key, found)

    async def read_all(self, key: LogKey) -> list[ResponseEvents]:
        """Every batch, in order."""
        return [await self._events(key, document) for document in await self._batches(key)]

    async def delete(self, key: LogKey) -> None:
        """With the log its artifacts; those that remain are deleted with the conversation."""
        for found in await self._batches(key):
            if name := json.loads(found.value).get("artifact"):
                await self._artifacts.delete(_artifact_key(key, name))
            await self._documents.delete(found.key)

    @contextmanager
    def watched(self, key: LogKey) -> Iterator[NewBatchesWatch]:
        """What this process appends from now on."""
        with self._new.watch(key.response_id) as watch:
            yield watch

    async def _batches(self, key: LogKey) -> list[Document]:
        found = list_all(self._documents, self._collection, key.tenant, prefix=f"{key.response_id}/")
        return sorted([document async for document in found], key=lambda document: document.key.id)

    async def _events(self, key: LogKey, document: Document) -> ResponseEvents:
        value = json.loads(document.value)
        if (name := value.get("artifact")) is None:
            events: ResponseEvents = value["events"]
            return events
        artifact = await self._artifacts.get(_artifact_key(key, name))
        # Gone with its conversation: nothing is left to show.
        return [] if artifact is None else json.loads(artifact.content.decode("utf-8", "surrogatepass"))

    def _key(self, key: LogKey, batch: int) -> DocumentKey:
        return DocumentKey(self._collection, key.tenant, f"{key.response_id}/{batch:0{_DIGITS}d}")


def _artifact_key(key: LogKey, name: str) -> ArtifactKey:
    return ArtifactKey(ConversationKey(key.tenant, key.conversation), name)
