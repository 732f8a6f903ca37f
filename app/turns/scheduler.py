"""Work that is due later than a queue message lives (24 hours): a document, until a timer puts it on the queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.queue import Queue, check_size
from app.storage.storage_errors import ConcurrentUpdateError, StorageError
from app.turns.queue_message import Envelope

_log = logging.getLogger(__name__)

_SCHEDULED = Collection("scheduled")
# After that another run of the timer puts the message on the queue, if this one vanished.
_CLAIM_SECONDS = 120.0
_PAGE_SIZE = 32


class Scheduler:
    """`clock` is in seconds since 1970. Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, queue: Queue, *, clock: Callable[[], float] = time.time) -> None:
        self._documents = documents
        self._queue = queue
        self._clock = clock

    async def schedule(self, tenant: str, id: str, message: Envelope, *, due_at: float) -> None:
        """Puts `message` on the queue at `due_at`, in seconds since 1970, or soon after: at least once.

        Under the same tenant and `id` it takes the place of what was scheduled before. Raises `ValueError` for a
        message that no queue takes.
        """
        body = message.to_json()
        check_size(body)
        key = DocumentKey(_SCHEDULED, tenant, id)
        while True:
            found = await self._documents.get(key)
            with suppress(ConcurrentUpdateError):
                await self._documents.put(Document(key, body, due_at, "" if found is None else found.version))
                return

    async def cancel(self, tenant: str, id: str) -> None:
        """What is on the queue by then comes all the same."""
        await self._documents.delete(DocumentKey(_SCHEDULED, tenant, id))

    async def run_due(self) -> int:
        """Puts on the queue what is due; returns how many messages. Safe in several workers at the same time.

        What fails is tried again at a later call.
        """
        count = 0
        while due := await self._documents.due_before(_SCHEDULED, self._clock(), limit=_PAGE_SIZE):
            count += sum([await self._put_on_queue(document) for document in due])
        return count

    async def _put_on_queue(self, document: Document) -> bool:
        try:
            claimed = await self._documents.put(replace(document, due_at=self._clock() + _CLAIM_SECONDS))
        except ConcurrentUpdateError:
            # Another worker has it, or it has just been scheduled anew.
            return False
        await self._queue.put(document.value, visibility_timeout=0)
        try:
            # The handler of the message may have scheduled the next one under the same id.
            await self._documents.delete_unchanged(claimed)
        except StorageError as failure:
            _log.warning("Scheduled work may come once more (%s)", type(failure).__name__)
        return True
