"""The store of decision records: one for each failed attempt of a run, so that none is handled twice."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError

from app.jobs.history.decision_record import PRIMARY, DecisionRecord
from app.storage.documents import Collection, Document, DocumentKey, DocumentStore, list_all
from app.storage.storage_errors import ConcurrentUpdateError

DECISIONS: Final = Collection("job_decisions", retention_days=400)

_MAX_TRIES = 5

_log = logging.getLogger(__name__)


def record_key(ended_at_seconds: float, run_key: str, strategy: str = PRIMARY) -> str:
    """The same in every pass and process; keys of later ends sort later, and begin with their day."""
    ended_at = datetime.fromtimestamp(max(0.0, min(ended_at_seconds, 4e9)), UTC)
    suffix = "" if strategy == PRIMARY else f"-{strategy}"
    return f"{ended_at:%Y%m%dT%H%M%S}-{run_key}{suffix}"


class DecisionRecords:
    """Of one workspace. Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, *, workspace: str) -> None:
        self._documents = documents
        self._workspace = workspace

    async def add(self, record: DecisionRecord) -> bool:
        """False where there is one with this key: the failure was handled before, here or elsewhere."""
        try:
            await self._documents.put(Document(self._key(record.key), record.model_dump_json()))
        except ConcurrentUpdateError:
            return False
        return True

    async def find(self, key: str) -> DecisionRecord | None:
        document = await self._documents.get(self._key(key))
        return None if document is None else _parse(document)

    async def update(self, key: str, changes: Mapping[str, str | int]) -> DecisionRecord | None:
        """The record with its changes, or None where there is none. Raises `ConcurrentUpdateError` after some tries."""
        for remaining in reversed(range(_MAX_TRIES)):
            document = await self._documents.get(self._key(key))
            record = None if document is None else _parse(document)
            if document is None or record is None:
                return None
            changed = record.model_copy(update=dict(changes))
            if changed == record:
                return record
            try:
                await self._documents.put(Document(document.key, changed.model_dump_json(), version=document.version))
            except ConcurrentUpdateError:
                if not remaining:
                    raise
            else:
                return changed
        return None

    async def between(self, since_seconds: float, until_seconds: float) -> AsyncIterator[DecisionRecord]:
        """Of runs that ended in these days, of UTC, day after day; those of one day in no order."""
        day = datetime.fromtimestamp(max(0.0, since_seconds), UTC).date()
        last = datetime.fromtimestamp(until_seconds, UTC).date()
        while day <= last:
            async for document in list_all(self._documents, DECISIONS, self._workspace, prefix=f"{day:%Y%m%d}T"):
                if (record := _parse(document)) is not None:
                    yield record
            day += timedelta(days=1)

    def _key(self, key: str) -> DocumentKey:
        return DocumentKey(DECISIONS, self._workspace, key)


def _parse(document: Document) -> DecisionRecord | None:
    try:
        return DecisionRecord.model_validate_json(document.value)
    except ValidationError:
        _log.warning("A stored decision cannot be read by this version")
        return None
