"""The value of each request: the first one that is kept stays, whichever worker kept it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

# A repeat that comes later finds the turn closed, and gets no second value.
_VALUES: Final = Collection("foundry_values", retention_days=2)


@dataclass(frozen=True, slots=True)
class StoredValue:
    """`was_kept`: by an earlier call of `keep`."""

    text: str
    was_kept: bool


class KeptValues:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def find(self, tool: str, correlation_id: str) -> str | None:
        found = await self._documents.get(_key(tool, correlation_id))
        return None if found is None else str(json.loads(found.value)["text"])

    async def keep(self, tool: str, correlation_id: str, text: str, *, writer: str | None = None) -> StoredValue:
        """What is kept from now on: `text`, or what was kept before. A `writer` that calls again is known by its id."""
        key, writer = _key(tool, correlation_id), writer or uuid.uuid4().hex
        while True:
            try:
                value = json.dumps({"v": 1, "writer": writer, "text": text}, ensure_ascii=False)
                await self._documents.put(Document(key, value))
                return StoredValue(text, was_kept=False)
            except ConcurrentUpdateError:
                found = await self._documents.get(key)
            if found is not None:
                row = json.loads(found.value)
                return StoredValue(str(row["text"]), was_kept=row["writer"] != writer)


def hashed_id(text: str) -> str:
    """For keys: a correlation id has any characters and any length."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _key(tool: str, correlation_id: str) -> DocumentKey:
    return DocumentKey(_VALUES, tool, hashed_id(correlation_id))
