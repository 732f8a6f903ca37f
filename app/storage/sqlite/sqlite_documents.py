"""Documents in a SQLite file."""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import replace
from typing import Any

from app.common.text import replace_lone_surrogates
from app.storage.documents import MAX_PAGE_SIZE, Collection, Document, DocumentKey, DocumentPage, check_document
from app.storage.sanitize_text import sanitize_document, sanitize_document_key
from app.storage.sqlite.sqlite_file import SqliteFile
from app.storage.storage_errors import ConcurrentUpdateError

_GET = "SELECT value, due_at, version FROM document WHERE collection = ? AND tenant = ? AND id = ?"
_INSERT = """
INSERT OR IGNORE INTO document (value, due_at, expires_at, version, collection, tenant, id)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE = """
UPDATE document SET value = ?, due_at = ?, expires_at = ?, version = ?
WHERE collection = ? AND tenant = ? AND id = ? AND version = ?
"""
_DELETE = "DELETE FROM document WHERE collection = ? AND tenant = ? AND id = ?"
_LIST = """
SELECT id, value, due_at, version FROM document
WHERE collection = ? AND tenant = ? AND id >= ? AND id < ?
ORDER BY id LIMIT ?
"""
_DUE = """
SELECT tenant, id, value, due_at, version FROM document WHERE collection = ? AND due_at <= ? ORDER BY due_at LIMIT ?
"""
# Follows every id that begins with a prefix, in the order of UTF-8 in which SQLite compares.
_LAST_CHARACTER = "\U0010ffff"
_DELETE_EXPIRED = "DELETE FROM document WHERE expires_at <= ?"


class SqliteDocuments:
    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def get(self, key: DocumentKey) -> Document | None:
        key = sanitize_document_key(key)
        row: tuple[Any, ...] | None = await self._file.run_transaction(
            lambda connection: connection.execute(_GET, _columns(key)).fetchone()
        )
        return None if row is None else Document(key, *row)

    async def put(self, document: Document) -> Document:
        check_document(document)
        stored = replace(sanitize_document(document), version=uuid.uuid4().hex)
        expires_at = document.key.collection.expires_at(self._file.clock())
        row = (stored.value, stored.due_at, expires_at, stored.version, *_columns(stored.key))

        def run_transaction(connection: sqlite3.Connection) -> Document:
            if document.version:
                written = connection.execute(_UPDATE, (*row, document.version)).rowcount
            else:
                written = connection.execute(_INSERT, row).rowcount
            if written != 1:
                raise ConcurrentUpdateError
            return stored

        return await self._file.run_transaction(run_transaction)

    async def delete(self, key: DocumentKey) -> None:
        columns = _columns(sanitize_document_key(key))
        await self._file.run_transaction(lambda connection: connection.execute(_DELETE, columns))

    async def delete_unchanged(self, document: Document) -> bool:
        arguments = (*_columns(sanitize_document_key(document.key)), document.version)
        deleted = await self._file.run_transaction(
            lambda connection: connection.execute(f"{_DELETE} AND version = ?", arguments).rowcount
        )
        return bool(deleted)

    async def list_page(
        self, collection: Collection, tenant: str, *, prefix: str = "", limit: int = 100, continuation: str = ""
    ) -> DocumentPage:
        limit, prefix = min(limit, MAX_PAGE_SIZE), replace_lone_surrogates(prefix)
        tenant, first, after = replace_lone_surrogates(tenant), max(prefix, continuation), prefix + _LAST_CHARACTER
        arguments = (collection.name, tenant, first, after, limit + 1)
        rows: list[tuple[Any, ...]] = await self._file.run_transaction(
            lambda connection: connection.execute(_LIST, arguments).fetchall()
        )
        documents = [Document(DocumentKey(collection, tenant, id), *others) for id, *others in rows[:limit]]
        return DocumentPage(documents, rows[limit][0] if len(rows) > limit else "")

    async def due_before(self, collection: Collection, moment: float, *, limit: int = 32) -> list[Document]:
        rows: list[tuple[Any, ...]] = await self._file.run_transaction(
            lambda connection: connection.execute(_DUE, (collection.name, moment, limit)).fetchall()
        )
        return [Document(DocumentKey(collection, tenant, id), *others) for tenant, id, *others in rows]

    async def delete_expired(self) -> int:
        now = self._file.clock()
        return await self._file.run_transaction(lambda connection: connection.execute(_DELETE_EXPIRED, (now,)).rowcount)

    async def close(self) -> None:
        """Nothing: the file belongs to the store."""


def _columns(key: DocumentKey) -> tuple[str, str, str]:
    return (key.collection.name, key.tenant, key.id)
