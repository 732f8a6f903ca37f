"""Past failures that resemble one of today, by their normalised errors."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.history.decision_record import PRIMARY, DecisionRecord
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.history.history_reading import newest_records
from app.jobs.runs.causing_error import normalised_error
from app.jobs.runs.run_failure import RunFailure

MIN_SIMILARITY: Final = 0.5
MAX_SIMILAR: Final = 3
_MAX_RECORDS = 2_000
_DAYS = 30
_MAX_ERROR_CHARACTERS = 600
# A pass reads the history once, and so does the next one if it comes soon.
_REUSE_SECONDS = 300.0

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class IndexedRecord:
    """`features` are the words of the normalised error, and its pairs of neighbouring words."""

    record: DecisionRecord
    features: frozenset[str]


def indexed(records: Iterable[DecisionRecord]) -> tuple[IndexedRecord, ...]:
    """Those of the strategy that acts, with an error; linear in their errors."""
    return tuple(
        IndexedRecord(record, features)
        for record in records
        if record.strategy == PRIMARY and (features := _features(record.error))
    )


def similar_incidents(
    error: str, past: Sequence[IndexedRecord], *, run_id: int = 0, limit: int = MAX_SIMILAR
) -> tuple[SimilarIncident, ...]:
    """The nearest first; of equally near ones those with an outcome, then the newest. What happened often in one job
    and ended the same is told once. `run_id` is left out, since its earlier attempts are no past incident.
    """
    wanted = _features(error)
    if not wanted:
        return ()
    near = [
        (similarity, each.record)
        for each in past
        if each.record.run_id != run_id and (similarity := _similarity(wanted, each.features)) >= MIN_SIMILARITY
    ]
    near.sort(key=lambda pair: (pair[0], pair[1].outcome in {"succeeded", "failed"}, pair[1].key), reverse=True)
    told: dict[tuple[int, str, str, str], SimilarIncident] = {}
    for similarity, record in near:
        kind = (record.job_id, record.error_fingerprint or record.cause, record.decision, record.outcome)
        if kind not in told:
            told[kind] = _similar_incident(record, similarity)
            if len(told) == limit:
                break
    return tuple(told.values())


class SimilarIncidents:
    """From the records of the last thirty days, at most two thousand."""

    def __init__(self, records: DecisionRecords, *, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock
        self._past: tuple[IndexedRecord, ...] = ()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def similar_to(self, failure: RunFailure) -> Sequence[SimilarIncident]:
        """Raises `StorageError`."""
        async with self._reading:
            now = self._clock()
            if now - self._read_at > _REUSE_SECONDS:
                newest = await newest_records(self._records, now, days=_DAYS, limit=_MAX_RECORDS)
                self._past = await asyncio.to_thread(indexed, newest)
                self._read_at = now
        task = failure.tasks[0] if failure.tasks else None
        error = (task.error or task.message) if task is not None else ""
        return similar_incidents(error, self._past, run_id=failure.run_id)


def _features(error: str) -> frozenset[str]:
    words = _WORD.findall(normalised_error(error))
    return frozenset(words).union(f"{first} {second}" for first, second in pairwise(words))


def _similarity(first: frozenset[str], second: frozenset[str]) -> float:
    """Dice's coefficient."""
    return 2 * len(first & second) / (len(first) + len(second))


def _similar_incident(record: DecisionRecord, similarity: float) -> SimilarIncident:
    return SimilarIncident(
        job_name=record.job_name,
        error=record.error[:_MAX_ERROR_CHARACTERS],
        cause=record.cause,
        action=record.action,
        outcome=record.outcome,
        similarity=round(similarity, 3),
        was_wrong_diagnosis=record.wrong_diagnosis > 0,
    )
