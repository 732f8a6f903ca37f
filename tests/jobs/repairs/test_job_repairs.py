"""Repairs of runs, over the stand-in Jobs API: each is begun once, whoever asks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.databricks.jobs_api import JobsApi
from app.jobs.repairs import repair_sentences as sentences
from app.jobs.repairs.repair_request import RepairRequest, RepairResult, StartedRetry
from app.storage.documents import DocumentStore
from tests.fakes.job_service import JobService
from tests.jobs.repairs.repair_harness import (
    FAILS,
    PARAMETERS,
    failed_run,
    repairs_of,
)


async def test_a_repair_sends_the_parameters_of_the_run_again_with_those_that_change(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs)
    asked = RepairRequest(asked.id, asked.run_id, asked.job_id, asked.ended_at_seconds, {"batch_size": "10"})
    result = await repairs_of(jobs, documents).start(asked)
    assert result.started is not None
    assert (result.started.kind, result.started.run_id) == ("repair", asked.run_id)
    assert [each["job_parameters"] for each in jobs.stand_in.repairs] == [PARAMETERS | {"batch_size": "10"}]


async def test_a_request_that_is_repeated_is_answered_from_the_store(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs)
    first = await repairs_of(jobs, documents).start(asked)
    jobs.now += 7200
    assert await repairs_of(jobs, documents).start(asked) == first
    assert len(jobs.stand_in.repairs) == 1


async def test_two_watchers_at_once_repair_a_run_once(jobs: JobService, documents: DocumentStore) -> None:
    asked = failed_run(jobs)
    jobs.stand_in.delay_seconds = 0.01
    await asyncio.gather(*(repairs_of(jobs, documents).start(asked) for _ in range(6)))
    assert len(jobs.stand_in.repairs) == 1
    again = await repairs_of(jobs, documents).start(asked)
    assert again.started is not None
    assert again.started.by_us


async def test_two_incidents_that_name_the_same_failure_repair_it_once(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs)
    other = RepairRequest("another incident", asked.run_id, asked.job_id, asked.ended_at_seconds)
    first, second = [await repairs_of(jobs, documents).start(each) for each in (asked, other)]
    assert first.started == second.started
    assert len(jobs.stand_in.repairs) == 1


@pytest.mark.parametrize("fault", ["carried out, unavailable", "carried out, page", "carried out, cut"])
async def test_a_repair_without_a_clear_answer_is_found_in_the_run_and_not_begun_again(
    jobs: JobService, documents: DocumentStore, fault: str
) -> None:
    asked = failed_run(jobs)
    jobs.stand_in.faults["runs/repair"].append(fault)  # type: ignore[arg-type]
    result = await repairs_of(jobs, documents).start(asked)
    assert result.started is not None
    assert result.started.by_us
    assert result.note == ""
    jobs.now += 600
    assert await repairs_of(jobs, documents).start(asked) == result
    assert await repairs_of(jobs, documents).outcome(result.started) == "succeeded"
    assert len(jobs.stand_in.repairs) == 1


async def test_a_repair_that_was_not_carried_out_is_asked_for_again(jobs: JobService, documents: DocumentStore) -> None:
    asked = failed_run(jobs)
    jobs.stand_in.faults["runs/repair"].append("unavailable")
    assert await repairs_of(jobs, documents).start(asked) == RepairResult()
    jobs.now += 600
    assert (await repairs_of(jobs, documents).start(asked)).started is not None
    assert len(jobs.stand_in.repairs) == 1


async def test_a_service_that_asks_for_patience_is_asked_again_by_the_next_pass(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs)
    jobs.stand_in.faults["runs/repair"].extend(["rate limited"] * 4)
    assert await repairs_of(jobs, documents).start(asked) == RepairResult()
    assert (await repairs_of(jobs, documents).start(asked)).started is not None


@pytest.mark.parametrize("seconds_later", [0, 7200])
async def test_a_repair_that_a_person_began_is_recognised(
    jobs: JobService, documents: DocumentStore, seconds_later: int
) -> None:
    asked = failed_run(jobs)
    repair_id = jobs.store.repair(asked.run_id, failed_tasks=True)
    jobs.now += seconds_later
    result = await repairs_of(jobs, documents).start(asked)
    assert result.started == StartedRetry("repair", asked.run_id, repair_id, by_us=False)
    assert jobs.stand_in.repairs == []


async def test_a_run_is_repaired_again_under_the_id_of_its_latest_repair(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs, FAILS)
    first = await repairs_of(jobs, documents).start(asked)
    assert first.started is not None
    jobs.now += 3600
    ended_at = jobs.store.run(asked.run_id).rounds[-1].ends_at
    assert await repairs_of(jobs, documents).outcome(first.started) == "failed"
    second = await repairs_of(jobs, documents).start(RepairRequest("next", asked.run_id, asked.job_id, ended_at))
    assert second.started is not None
    assert [each.get("latest_repair_id") for each in jobs.stand_in.repairs] == [None, first.started.repair_id]


async def test_a_repair_that_fell_between_the_reading_and_the_request_is_somebody_elses(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs)
    repair = jobs.store.repair
    theirs: list[int] = []

    def repaired_first(run_id: int, **settings: Any) -> int:
        if not theirs:
            theirs.append(repair(run_id, failed_tasks=True))
        return repair(run_id, **settings)

    jobs.store.repair = repaired_first  # type: ignore[method-assign]
    result = await repairs_of(jobs, documents).start(asked)
    assert result.started == StartedRetry("repair", asked.run_id, theirs[0], by_us=False)
    assert result.note == sentences.BY_SOMEBODY_ELSE


async def test_a_run_in_progress_again_without_a_repair_that_is_named_is_followed(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs)
    jobs.store.repair(asked.run_id, failed_tasks=True)
    result = await repairs_of(jobs, documents, WithoutHistory(jobs.api)).start(asked)  # type: ignore[arg-type]
    assert result.started == StartedRetry("repair", asked.run_id, 0, by_us=False)
    assert await repairs_of(jobs, documents).outcome(result.started) == "active"
    jobs.now += 3600
    assert await repairs_of(jobs, documents).outcome(result.started) == "succeeded"


class WithoutHistory:
    """A service that does not name a repair yet."""

    def __init__(self, api: JobsApi) -> None:
        self._api = api

    async def run(self, run_id: int) -> Any:
        return {name: value for name, value in (await self._api.run(run_id)).items() if name != "repair_history"}
