"""Documents in an Azure table."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableClient

from app.common.text import replace_lone_surrogates
from app.storage.azure.azure_calls import CLEANING_SECONDS, storage_call
from app.storage.azure.document_entities import (
    document_entity,
    document_of,
    document_range,
    document_row,
    document_version,
    due_entity,
    due_range,
    due_row,
    parse_document_version,
)
from app.storage.azure.table_rows import Operation, TableConflictError, TableRows, delete_if_same, write_if_same
from app.storage.documents import MAX_PAGE_SIZE, Collection, Document, DocumentKey, DocumentPage, check_document
from app.storage.sanitize_text import sanitize_document, sanitize_document_key
from app.storage.storage_errors import ConcurrentUpdateError


class TableDocuments:
    """Creates the table if it is missing. `clock` is in seconds since 1970."""

    def __init__(self, table: TableClient, *, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._rows = TableRows(table)
        self._clock = clock

    async def create(self) -> None:
        with suppress(ResourceExistsError):
            await self._table.create_table()

    @storage_call()
    async def get(self, key: DocumentKey) -> Document | None:
        return await self._get(sanitize_document_key(key))

    @storage_call()
    async def put(self, document: Document) -> Document:
        check_document(document)
        document = sanitize_document(document)
        key, write_id = document.key, uuid.uuid4().hex
        etag, was_due_at = parse_document_version(document.version)
        entity = document_entity(document, write_id, self._clock())
        moves = _due_time_moves(document, was_due_at)
        try:
            if moves:
                etag, *_ = await self._rows.transaction([write_if_same(entity, etag), *moves])
            else:
                etag = await self._rows.put(entity, etag)
        except TableConflictError as conflict:
            found = await self._rows.get(key.collection.name, document_row(key.tenant, key.id))
            # Unless an earlier try of this call has written it, and its answer was lost.
            if found is None or found["write_id"] != write_id:
                raise ConcurrentUpdateError from conflict
            etag = found["etag"]
        return replace(document, version=document_version(etag, document.due_at))

    @storage_call()
    async def delete(self, key: DocumentKey) -> None:
        key = sanitize_document_key(key)
        while (document := await self._get(key)) is not None:
            if await self._delete(document):
                return

    @storage_call()
    async def delete_unchanged(self, document: Document) -> bool:
        return await self._delete(replace(document, key=sanitize_document_key(document.key)))

    @storage_call()
    async def list_page(
        self, collection: Collection, tenant: str, *, prefix: str = "", limit: int = 100, continuation: str = ""
    ) -> DocumentPage:
        limit, prefix = min(limit, MAX_PAGE_SIZE), replace_lone_surrogates(prefix)
        first, after = document_range(replace_lone_surrogates(tenant), prefix, continuation)
        documents: list[Document] = []
        async for page in self._rows.pages(collection.name, first, after, page_size=limit + 1):
            found = (document_of(collection, row) for row in page)
            documents += [document for document in found if document.key.id.startswith(prefix)]
            if len(documents) > limit:
                break
        return DocumentPage(documents[:limit], documents[limit].key.id if len(documents) > limit else "")

    @storage_call()
    async def due_before(self, collection: Collection, moment: float, *, limit: int = 32) -> list[Document]:
        first, after = due_range(moment)
        due: list[Document] = []
        async for page in self._rows.pages(collection.name, first, after, page_size=limit):
            found = await asyncio.gather(*(self._rows.get(collection.name, row["document_row"]) for row in page))
            documents = [document_of(collection, entity) for entity in found if entity is not None]
            # A document may have got another time since the page was read.
            due += [each for each in documents if each.due_at is not None and each.due_at <= moment]
            if len(due) >= limit:
                break
        return due[:limit]

    @storage_call(CLEANING_SECONDS)
    async def delete_expired(self) -> int:
        deleted = 0
        async for row in self._rows.expired(self._clock()):
            deleted += await self._delete(document_of(Collection(row["PartitionKey"]), row))
        return deleted

    async def close(self) -> None:
        await self._table.close()

    async def _get(self, key: DocumentKey) -> Document | None:
        entity = await self._rows.get(key.collection.name, document_row(key.tenant, key.id))
        return None if entity is None else document_of(key.collection, entity)

    async def _delete(self, document: Document) -> bool:
        """Returns False if the document has been changed or deleted since it was read."""
        key, (etag, due_at) = document.key, parse_document_version(document.version)
        operations = [delete_if_same(key.collection.name, document_row(key.tenant, key.id), etag)]
        if due_at is not None:
            operations.append(("delete", due_entity(key, due_at)))
        try:
            await self._rows.transaction(operations)
        except TableConflictError:
            return False
        return True


def _due_time_moves(document: Document, was_due_at: float | None) -> list[Operation]:
    """The changes of the row that says when the document is due."""
    key = document.key
    before, after = (None if at is None else due_row(key, at) for at in (was_due_at, document.due_at))
    operations: list[Operation] = []
    if before == after:
        return operations
    if was_due_at is not None:
        operations.append(("delete", due_entity(key, was_due_at)))
    if document.due_at is not None:
        operations.append(("upsert", due_entity(key, document.due_at)))
    return operations
