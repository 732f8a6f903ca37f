"""The value of each request: the first one that is kept stays, whichever worker kept it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from app.foundry.requests.tool_request import KeptValue
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

# A repeat that comes later finds the turn closed, and gets no second value.
_VALUES: Final = Collection("foundry_values", retention_days=2)


@dataclass(frozen=True, slots=True)
class StoredValue:
    """`was_kept`: by an earlier call of `keep`."""

    value: KeptValue
    was_kept: bool


class KeptValues:
    """Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore) -> None:
        self._documents = documents

    async def find(self, tool: str, correlation_id: str) -> KeptValue | None:
        found = await self._documents.get(_key(tool, correlation_id))
        return None if found is None else _value(json.loads(found.value))

    async def keep(self, tool: str, correlation_id: str, value: KeptValue, *, writer: str | None = None) -> StoredValue:
        """What is kept from now on: `value`, or what was kept before. A `writer` that calls again is known by its
        id.
        """
        key, writer = _key(tool, correlation_id), writer or uuid.uuid4().hex
        while True:
            try:
                row = {"v": 1, "writer": writer, "text": value.text, "failed": value.failed}
                await self._documents.put(Document(key, json.dumps(row, ensure_ascii=False)))
                return StoredValue(value, was_kept=False)
            except ConcurrentUpdateError:
                found = await self._documents.get(key)
            if found is not None:
                row = json.loads(found.value)
                return StoredValue(_value(row), was_kept=row["writer"] != writer)


def hashed_id(text: str) -> str:
    """For keys: a correlation id has any characters and any length."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _value(row: Mapping[str, Any]) -> KeptValue:
    # Rows of older versions do not say whether it failed.
    return KeptValue(str(row["text"]), bool(row.get("failed")))


def _key(tool: str, correlation_id: str) -> DocumentKey:
    return DocumentKey(_VALUES, tool, hashed_id(correlation_id))
