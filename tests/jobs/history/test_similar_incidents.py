"""Which past failures resemble one of today."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.history.decision_record import OBSERVED
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.history.similar_incidents import SimilarIncidents, indexed, similar_incidents
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.jobs.chat.sample_incidents import FAILURE
from tests.jobs.history.sample_records import NOON, OUT_OF_MEMORY, WORKSPACE, a_record

DAY = 24 * 3600.0


def found(error: str, *records: object) -> tuple[SimilarIncident, ...]:
    return similar_incidents(error, indexed(records))  # type: ignore[arg-type]


def test_the_nearest_error_comes_first_whatever_its_numbers_are() -> None:
    same = a_record(1, error="java.lang.OutOfMemoryError: Java heap space in stage 99.1 (TID 7)", job_name="same")
    near = a_record(2, error="java.lang.OutOfMemoryError: GC overhead limit in stage 1.0", job_id=2, job_name="near")
    far = a_record(3, error="AnalysisException: Table sales.orders not found", job_id=3, job_name="far")
    similar = found(OUT_OF_MEMORY, far, near, same)
    assert [each.job_name for each in similar] == ["same", "near"]
    assert similar[0].similarity == 1.0
    assert 0.5 <= similar[1].similarity < 1.0


def test_of_equal_errors_one_with_an_outcome_is_told_before_a_newer_one_without() -> None:
    old = a_record(1, NOON - DAY, outcome="succeeded", action="retried", wrong_diagnosis=1)
    new = a_record(2, NOON, job_id=9)
    first, second = found(OUT_OF_MEMORY, new, old)
    assert (first.action, first.outcome, first.was_wrong_diagnosis) == ("retried", "succeeded", True)
    assert second.outcome == ""


def test_what_ended_the_same_hundred_times_is_told_once() -> None:
    records = [a_record(run, outcome="succeeded") for run in range(100)]
    similar = found(OUT_OF_MEMORY, *records, a_record(200, outcome="failed"))
    assert sorted(each.outcome for each in similar) == ["failed", "succeeded"]


@pytest.mark.parametrize("error", ["", "   ", "<>!"])
def test_an_error_that_says_nothing_resembles_none(error: str) -> None:
    assert found(error, a_record(error=error), a_record(2)) == ()


def test_neither_the_run_itself_nor_what_a_second_strategy_said_is_a_past_incident() -> None:
    past = indexed([a_record(1), a_record(2, strategy=OBSERVED), a_record(3, decision="SKIP")])
    assert len(similar_incidents(OUT_OF_MEMORY, past)) == 2
    assert len(similar_incidents(OUT_OF_MEMORY, past, run_id=1)) == 1
    assert found(OUT_OF_MEMORY, a_record(2, strategy=OBSERVED)) == ()


@given(st.text(max_size=300), st.lists(st.text(max_size=200), max_size=8))
def test_any_text_is_compared(error: str, past: list[str]) -> None:
    similar = found(error, *(a_record(run, error=text, job_id=run) for run, text in enumerate(past)))
    assert len(similar) <= 3
    assert all(0.5 <= each.similarity <= 1 for each in similar)
    assert list(similar) == sorted(similar, key=lambda each: -each.similarity)


def test_long_errors_cost_no_more_than_their_beginning() -> None:
    past = indexed(a_record(run, error=f"{'a1 ' * 30_000}{run}", job_id=run) for run in range(300))
    began = time.process_time()
    assert len(similar_incidents("a1 " * 100_000, past)) == 3
    assert time.process_time() - began < 2.0


async def test_the_history_of_thirty_days_is_read_once_for_a_pass(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db")
    documents = store.documents()
    records = DecisionRecords(documents, workspace=WORKSPACE)
    error = FAILURE.tasks[0].error
    for run, age_days in ((1, 1), (2, 29), (3, 40)):
        await records.add(a_record(run, NOON - age_days * DAY, error=error, job_id=run, job_name=f"job {run}"))
    now = [NOON]
    similar = SimilarIncidents(records, clock=lambda: now[0])
    assert [each.job_name for each in await similar.similar_to(FAILURE)] == ["job 1", "job 2"]
    await records.add(a_record(4, NOON, error=error, job_id=4, job_name="job 4"))
    assert len(await similar.similar_to(FAILURE)) == 2
    now[0] += 301
    assert [each.job_name for each in await similar.similar_to(FAILURE)] == ["job 4", "job 1", "job 2"]
    assert await similar.similar_to(replace(FAILURE, tasks=())) == ()
    await documents.close()
    await store.close()
