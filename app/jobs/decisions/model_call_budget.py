"""How many calls of a model there may be in an hour, in this process and in every other that shares the store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pydantic import TypeAdapter, ValidationError

from app.storage.documents import Collection, Document, DocumentKey, DocumentStore
from app.storage.storage_errors import ConcurrentUpdateError, StorageError

HOUR_SECONDS = 3600.0

_CALLS: Final = Collection("job_model_calls", retention_days=1)
_MAX_ATTEMPTS = 20
_TIMES = TypeAdapter(list[float])
_log = logging.getLogger(__name__)


class ModelCallBudget:
    """Without `documents` it counts the calls of this process alone. `clock` is in seconds since 1970."""

    def __init__(
        self,
        max_calls_per_hour: int,
        clock: Callable[[], float],
        documents: DocumentStore | None = None,
    ) -> None:
        self._max_calls = max_calls_per_hour
        self._clock = clock
        self._documents = documents
        self._calls: list[float] = []

    def with_documents(self, documents: DocumentStore) -> ModelCallBudget:
        return ModelCallBudget(self._max_calls, self._clock, documents)

    async def take(self) -> bool:
        """Whether there may be one more call now, which then counts. False where storage does not say."""
        if self._documents is None:
            self._calls = self._recent(self._calls)
            if len(self._calls) >= self._max_calls:
                return False
            self._calls.append(self._clock())
            return True
        try:
            return await self._take_from(self._documents)
        except StorageError as error:
            _log.warning("The calls of the model cannot be counted, so none is made", exc_info=error)
            return False

    async def _take_from(self, documents: DocumentStore) -> bool:
        key = DocumentKey(_CALLS, "", "last_hour")
        for _ in range(_MAX_ATTEMPTS):
            document = await documents.get(key) or Document(key, "[]")
            calls = self._recent(_read(document.value))
            if len(calls) >= self._max_calls:
                return False
            value = _TIMES.dump_json([*calls, self._clock()]).decode()
            try:
                await documents.put(replace(document, value=value))
                return True
            except ConcurrentUpdateError:
                continue
        return False

    def _recent(self, calls: list[float]) -> list[float]:
        now = self._clock()
        # The clock of another process may run ahead.
        return [each for each in calls if abs(now - each) < HOUR_SECONDS]


def _read(value: str) -> list[float]:
    try:
        return _TIMES.validate_json(value)
    except ValidationError:
        return []
