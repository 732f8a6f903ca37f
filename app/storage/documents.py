"""Documents: small rows outside conversations (watches, schedules, incidents, conversation references)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

MAX_DOCUMENT_CHARACTERS = 80_000
MAX_PAGE_SIZE = 200

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents of one kind. `name` has lower-case letters, digits and underscores, at most 40.

    A document is deleted when it has not been written for `retention_days`; None keeps it until somebody deletes it.
    """

    name: str
    retention_days: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} names no collection")

    def expires_at(self, now: float) -> float | None:
        return None if self.retention_days is None else now + self.retention_days * 24 * 3600


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """`tenant` and `id` may have any characters and any length."""

    collection: Collection
    tenant: str
    id: str


@dataclass(frozen=True, slots=True)
class Document:
    """`value` is text that storage does not interpret, at most `MAX_DOCUMENT_CHARACTERS`. `due_at` is in seconds since
    1970. `version` changes with every write; a new document has none.
    """

    key: DocumentKey
    value: str
    due_at: float | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """`continuation` gets the next page; it is empty after the last one."""

    documents: list[Document]
    continuation: str = ""


class DocumentStore(Protocol):
    """Every method raises `app.storage.storage_errors.StorageError`."""

    async def get(self, key: DocumentKey) -> Document | None: ...

    async def put(self, document: Document) -> Document:
        """Creates a document without a version, or replaces the version that was read.

        If several workers read the same due document, only one of them succeeds in moving its `due_at`: that one does
        what is due. Raises `app.storage.storage_errors.ConcurrentUpdateError`, and `ValueError` for a value that is too
        long.
        """
        ...

    async def delete(self, key: DocumentKey) -> None:
        """Deletes the document whatever its version. A missing one is no error."""
        ...

    async def delete_unchanged(self, document: Document) -> bool:
        """Deletes the document if nobody has written it since it was read; returns whether it did."""
        ...

    async def list_page(
        self, collection: Collection, tenant: str, *, prefix: str = "", limit: int = 100, continuation: str = ""
    ) -> DocumentPage:
        """Documents whose id begins with `prefix`, in an order that stays the same; at most `MAX_PAGE_SIZE`."""
        ...

    async def due_before(self, collection: Collection, moment: float, *, limit: int = 32) -> list[Document]:
        """The documents of all tenants that are due at `moment`, in seconds since 1970, or earlier: earliest first."""
        ...

    async def delete_expired(self) -> int:
        """Deletes the documents of all collections whose retention has ended; returns how many."""
        ...

    async def close(self) -> None: ...


async def list_all(
    documents: DocumentStore, collection: Collection, tenant: str, *, prefix: str = ""
) -> AsyncIterator[Document]:
    """As `list_page`, over all pages."""
    continuation = ""
    while True:
        page = await documents.list_page(
            collection, tenant, prefix=prefix, limit=MAX_PAGE_SIZE, continuation=continuation
        )
        for document in page.documents:
            yield document
        if not (continuation := page.continuation):
            return


async def delete_all(documents: DocumentStore, collection: Collection, tenant: str, *, prefix: str) -> None:
    """Also those that are written meanwhile."""
    while found := (await documents.list_page(collection, tenant, prefix=prefix)).documents:
        for document in found:
            await documents.delete(document.key)


def check_document(document: Document) -> None:
    """Raises `ValueError` for a document that no engine takes."""
    if len(document.value) > MAX_DOCUMENT_CHARACTERS:
        raise ValueError(f"a document of {len(document.value)} characters; there is room for {MAX_DOCUMENT_CHARACTERS}")
