"""Decision records in the store."""

from __future__ import annotations

import asyncio

import pytest

from app.jobs.history.decision_record import DECISION_SCHEMA
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.storage.documents import DocumentStore
from tests.jobs.history.sample_records import NOON, a_record

DAY = 24 * 3600.0


@pytest.fixture
def records(documents: DocumentStore) -> DecisionRecords:
    return DecisionRecords(documents, workspace="adb-1.azuredatabricks.net")


async def test_a_failure_is_recorded_once_however_many_passes_see_it(records: DecisionRecords) -> None:
    added = await asyncio.gather(*(records.add(a_record(pass_id=f"p{n}")) for n in range(4)))
    assert sorted(added) == [False, False, False, True]


async def test_the_outcome_is_added_to_the_record(records: DecisionRecords) -> None:
    record = a_record()
    await records.add(record)
    changed = await records.update(record.key, {"outcome": "succeeded", "outcome_at": "2026-11-27T13:00:00Z"})
    assert changed == record.model_copy(update={"outcome": "succeeded", "outcome_at": "2026-11-27T13:00:00Z"})
    assert await records.find(record.key) == changed
    assert await records.update("unknown", {"outcome": "failed"}) is None


async def test_the_history_has_the_records_of_the_days_asked_for(records: DecisionRecords) -> None:
    for days in range(5):
        for run in range(3):
            await records.add(a_record(100 * days + run, NOON - days * DAY))
    found = [each.run_id async for each in records.between(NOON - 2 * DAY, NOON)]
    assert sorted(found) == [0, 1, 2, 100, 101, 102, 200, 201, 202]


async def test_more_records_than_a_page_holds_are_all_found(records: DecisionRecords) -> None:
    await asyncio.gather(*(records.add(a_record(run)) for run in range(450)))
    found = {each.run_id async for each in records.between(NOON, NOON)}
    assert len(found) == 450


def test_the_schema_names_every_column_of_a_record() -> None:
    columns = dict(each.split(" ") for each in DECISION_SCHEMA.split(", "))
    row = a_record().model_dump()
    assert list(columns) == list(row)
    assert {name: {str: "STRING", int: "BIGINT"}[type(value)] for name, value in row.items()} == columns


@pytest.mark.parametrize("moment", [-1.0, 0.0, 1e18])
def test_a_run_without_a_usable_end_has_a_key_too(moment: float) -> None:
    assert record_key(moment, "7-0").endswith("-7-0")
