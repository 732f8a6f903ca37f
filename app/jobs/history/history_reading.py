"""The records that an export, a page or a program asks for."""

from __future__ import annotations

from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import DecisionRecords

DAY_SECONDS = 24 * 3600.0


async def read_history(
    records: DecisionRecords, since_seconds: float, until_seconds: float, *, job_id: int | None = None
) -> list[DecisionRecord]:
    """Of runs that ended in these days, of UTC, oldest first. Raises `StorageError`."""
    found = [
        record
        async for record in records.between(since_seconds, until_seconds)
        if job_id is None or record.job_id == job_id
    ]
    return sorted(found, key=lambda record: record.key)


async def newest_records(
    records: DecisionRecords, until_seconds: float, *, days: int, limit: int
) -> list[DecisionRecord]:
    """Newest day first, at most `limit`. Raises `StorageError`."""
    found: list[DecisionRecord] = []
    for day in range(days):
        moment = until_seconds - day * DAY_SECONDS
        async for record in records.between(moment, moment):
            found.append(record)
            if len(found) == limit:
                return found
    return found
