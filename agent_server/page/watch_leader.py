"""Of several servers one looks at the jobs: whoever claims the pass that is due."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

WATCH_PASSES: Final = Collection("job_watch_passes", retention_days=400)
LEASE_SECONDS: Final = 960.0
"""A pass whose server died is made up for after that. No pass takes longer."""

_log = logging.getLogger(__name__)


class WatchLeader:
    """`run_pass` is awaited by one server every `every_seconds`. `clock` is in seconds since 1970."""

    def __init__(
        self,
        documents: DocumentStore,
        run_pass: Callable[[], Awaitable[object]],
        *,
        workspace: str,
        every_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._documents = documents
        self._run_pass = run_pass
        self._key = DocumentKey(WATCH_PASSES, workspace, "next")
        self._every_seconds = every_seconds
        self._clock = clock

    async def run_if_due(self) -> bool:
        """Whether a pass was run here. Raises `StorageError`, and what the pass raises."""
        now = self._clock()
        document = await self._documents.get(self._key)
        if document is not None and _next_at(document) > now:
            return False
        try:
            claim = await self._documents.put(_next(self._key, now + LEASE_SECONDS, document))
        except ConcurrentUpdateError:
            # Another server claimed it.
            return False
        try:
            await self._run_pass()
        finally:
            with suppress(ConcurrentUpdateError):
                await self._documents.put(_next(self._key, now + self._every_seconds, claim))
        return True


def _next(key: DocumentKey, at_seconds: float, before: Document | None) -> Document:
    return Document(key, json.dumps({"next_at": at_seconds}), version="" if before is None else before.version)


def _next_at(document: Document) -> float:
    try:
        return float(json.loads(document.value)["next_at"])
    except (ValueError, KeyError, TypeError):
        _log.warning("When the job watch runs next cannot be read by this version; it runs now")
        return 0.0
