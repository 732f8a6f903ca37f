"""Documents as entities of an Azure table: one partition for each collection.

`item!<tenant>!<id>` holds a document; `due!<milliseconds>!<hash>` beside it is there for one that is due at some time,
so that what is due is one range.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from app.storage.azure.table_entities import Entity, join_text, split_text
from app.storage.documents import Collection, Document, DocumentKey

# Sizes of a row's key, which may have 512 characters.
_TENANT_SIZE = 100
_ID_SIZE = 400
_HASH_SIZE = 64
# The others have a meaning in an address or in these keys.
_ESCAPED = re.compile(rb"[^A-Za-z0-9._:@;=,-]")
# Follows every character that a key can have.
_LAST = "\x7f"


def document_row(tenant: str, id: str) -> str:
    return f"{_items_of(tenant)}{_shortened(_escaped(id), _ID_SIZE)}"


def document_range(tenant: str, prefix: str, continuation: str) -> tuple[str, str]:
    """The first row, and what comes after the last one."""
    first = f"{_items_of(tenant)}{_escaped(prefix)[: _ID_SIZE - _HASH_SIZE - 2]}"
    return max(first, document_row(tenant, continuation)) if continuation else first, first + _LAST


def due_range(moment: float) -> tuple[str, str]:
    return "due!", f"due!{_milliseconds(moment):015d}!{_LAST}"


def due_row(key: DocumentKey, due_at: float) -> str:
    row = document_row(key.tenant, key.id)
    return f"due!{_milliseconds(due_at):015d}!{hashlib.sha256(row.encode()).hexdigest()[:32]}"


def document_entity(document: Document, write: str, now: float) -> Entity:
    """`write` names one attempt to write, never two."""
    key, expires_at = document.key, document.key.collection.expires_at(now)
    times = {"due_at": document.due_at, "expires_at": expires_at}
    return {
        **_keys(key.collection, document_row(key.tenant, key.id)),
        "write_id": write,
        "written_at": now,
        **{name: time for name, time in times.items() if time is not None},
        **split_text("tenant", key.tenant),
        **split_text("id", key.id),
        **split_text("value", document.value),
    }


def due_entity(key: DocumentKey, due_at: float) -> Entity:
    return {**_keys(key.collection, due_row(key, due_at)), "document_row": document_row(key.tenant, key.id)}


def document_of(collection: Collection, entity: Mapping[str, Any]) -> Document:
    key = DocumentKey(collection, join_text("tenant", entity), join_text("id", entity))
    due_at = entity.get("due_at")
    return Document(key, join_text("value", entity), due_at, document_version(entity["etag"], due_at))


def document_version(etag: str, due_at: float | None) -> str:
    """With the time, because the row that says when it is due changes with the document."""
    return f"{'' if due_at is None else repr(due_at)} {etag}"


def parse_document_version(version: str) -> tuple[str, float | None]:
    due_at, _, etag = version.partition(" ")
    return etag, float(due_at) if due_at else None


def _keys(collection: Collection, row: str) -> Entity:
    return {"PartitionKey": collection.name, "RowKey": row}


def _items_of(tenant: str) -> str:
    return f"item!{_shortened(_escaped(tenant), _TENANT_SIZE)}!"


def _escaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: b"~%02X" % found[0][0], text.encode()).decode()


def _shortened(escaped: str, size: int) -> str:
    """Two that differ stay different: what is not shortened has no "~~"."""
    if len(escaped) <= size:
        return escaped
    return f"{escaped[: size - _HASH_SIZE - 2]}~~{hashlib.sha256(escaped.encode()).hexdigest()}"


def _milliseconds(moment: float) -> int:
    return min(max(round(moment * 1000), 0), 10**15 - 1)
