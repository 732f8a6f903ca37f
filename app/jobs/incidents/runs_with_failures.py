"""Runs that succeeded with failures, kept for the digest."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import TypeAdapter, ValidationError

from app.jobs.runs.look import EndedRun
from app.storage.documents import MAX_PAGE_SIZE, Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError

RUNS_WITH_FAILURES: Final = Collection("job_runs_with_failures", retention_days=10)

_RUN: Final = TypeAdapter(EndedRun)
_log = logging.getLogger(__name__)


class RunsWithFailures:
    """Of one workspace. Every method raises `StorageError`."""

    def __init__(self, documents: DocumentStore, *, workspace: str) -> None:
        self._documents = documents
        self._workspace = workspace

    async def add(self, runs: Iterable[EndedRun]) -> None:
        """Those that are there already stay as they are."""
        for run in runs:
            key = DocumentKey(RUNS_WITH_FAILURES, self._workspace, f"{_day(run.ended_at_seconds)}/{run.key}")
            with suppress(ConcurrentUpdateError):
                await self._documents.put(Document(key, _RUN.dump_json(run).decode()))

    async def between(self, since_seconds: float, until_seconds: float) -> list[EndedRun]:
        """Those that ended then, at most `MAX_PAGE_SIZE` of each day of UTC."""
        found = []
        days = int((until_seconds - since_seconds) // 86_400) + 2
        for number in range(days):
            prefix = f"{_day(since_seconds, number)}/"
            page = await self._documents.list_page(
                RUNS_WITH_FAILURES, self._workspace, prefix=prefix, limit=MAX_PAGE_SIZE
            )
            found += [run for document in page.documents if (run := _parse(document)) is not None]
        return [run for run in found if since_seconds <= run.ended_at_seconds < until_seconds]


def _day(seconds: float, later: int = 0) -> str:
    moment = datetime.fromtimestamp(max(0.0, min(seconds, 4e9)), UTC) + timedelta(days=later)
    return f"{moment:%Y%m%d}"


def _parse(document: Document) -> EndedRun | None:
    try:
        return _RUN.validate_json(document.value)
    except ValidationError:
        _log.warning("A stored run cannot be read by this version")
        return None
