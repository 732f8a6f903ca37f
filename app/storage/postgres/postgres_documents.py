"""Documents in a PostgreSQL database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from app.storage.documents import MAX_PAGE_SIZE, Collection, Document, DocumentKey, DocumentPage, check_document
from app.storage.postgres.postgres_keys import digest, utf8
from app.storage.postgres.postgres_pool import CLEANING_SECONDS, PostgresPool
from app.storage.postgres.postgres_session import PostgresSession
from app.storage.sanitize_text import sanitize_document
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

_GET = "SELECT tenant, id, value, due_at, version FROM {schema}.document WHERE key = $1"
_INSERT = """
INSERT INTO {schema}.document (key, version, value, due_at, expires_at, partition_key, collection, tenant, id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (key) DO NOTHING
"""
_UPDATE = """
UPDATE {schema}.document SET version = $2, value = $3, due_at = $4, expires_at = $5
WHERE key = $1 AND version = $6
"""
_IS_VERSION = "SELECT 1 FROM {schema}.document WHERE key = $1 AND version = $2"
_DELETE = "DELETE FROM {schema}.document WHERE key = $1"
# In the order of bytes, whatever the database's collation. The index has the beginnings of ids: a long id does not fit.
_LIST = """
SELECT tenant, id, value, due_at, version FROM {schema}.document
WHERE partition_key = $1
  AND substring(id FOR 400) BETWEEN substring($2::bytea FOR 400) AND substring($3::bytea FOR 400)
  AND id >= $2 AND id < $3
ORDER BY substring(id FOR 400), id LIMIT $4
"""
# No UTF-8 has it: it follows every id that begins with a prefix.
_LAST_BYTE = b"\xff"
_DUE = """
SELECT tenant, id, value, due_at, version FROM {schema}.document
WHERE collection = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3
"""
_DELETE_EXPIRED = "DELETE FROM {schema}.document WHERE expires_at <= $1"


class PostgresDocuments:
    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def get(self, key: DocumentKey) -> Document | None:
        row = await self._pool.run(lambda session: session.row(_GET, _key(key)))
        return None if row is None else _document(key.collection, row)

    async def put(self, document: Document) -> Document:
        check_document(document)
        stored = replace(sanitize_document(document), version=uuid.uuid4().hex)
        key, columns = _key(stored.key), _columns(stored.key)
        row = (key, stored.version, stored.value, stored.due_at, stored.key.collection.expires_at(self._pool.clock()))

        async def work(session: PostgresSession) -> Document:
            if document.version:
                written = await session.execute(_UPDATE, *row, document.version)
            else:
                written = await session.execute(_INSERT, *row, *columns)
            # An earlier try of this call may have written it.
            if written != 1 and await session.row(_IS_VERSION, key, stored.version) is None:
                raise ConcurrentUpdateError
            return stored

        return await self._pool.run(work)

    async def delete(self, key: DocumentKey) -> None:
        await self._pool.run(lambda session: session.execute(_DELETE, _key(key)))

    async def delete_unchanged(self, document: Document) -> bool:
        arguments, committing = (_key(document.key), document.version), False

        async def work(session: PostgresSession) -> bool:
            nonlocal committing
            if committing:
                # Another call may as well have deleted it: of two only one may be told that it did.
                raise StorageError("the connection was lost, and whether the document was deleted is not known")
            async with session.transaction():
                deleted = await session.execute(f"{_DELETE} AND version = $2", *arguments)
                committing = True
            return deleted == 1

        return await self._pool.run(work)

    async def list_page(
        self, collection: Collection, tenant: str, *, prefix: str = "", limit: int = 100, continuation: str = ""
    ) -> DocumentPage:
        limit, first = min(limit, MAX_PAGE_SIZE), max(utf8(prefix), utf8(continuation))
        arguments = (digest(collection.name, tenant), first, utf8(prefix) + _LAST_BYTE, limit + 1)
        rows = await self._pool.run(lambda session: session.rows(_LIST, *arguments))
        documents = [_document(collection, row) for row in rows]
        return DocumentPage(documents[:limit], documents[limit].key.id if len(documents) > limit else "")

    async def due_before(self, collection: Collection, moment: float, *, limit: int = 32) -> list[Document]:
        rows = await self._pool.run(lambda session: session.rows(_DUE, collection.name, moment, limit))
        return [_document(collection, row) for row in rows]

    async def delete_expired(self) -> int:
        now = self._pool.clock()
        return await self._pool.run(lambda session: session.execute(_DELETE_EXPIRED, now), seconds=CLEANING_SECONDS)

    async def close(self) -> None:
        """Nothing: the connections belong to the store."""


def _key(key: DocumentKey) -> bytes:
    return digest(key.collection.name, key.tenant, key.id)


def _columns(key: DocumentKey) -> tuple[bytes, str, bytes, bytes]:
    return digest(key.collection.name, key.tenant), key.collection.name, utf8(key.tenant), utf8(key.id)


def _document(collection: Collection, row: Sequence[Any]) -> Document:
    tenant, id, value, due_at, version = row
    return Document(DocumentKey(collection, tenant.decode(), id.decode()), value, due_at, version)
