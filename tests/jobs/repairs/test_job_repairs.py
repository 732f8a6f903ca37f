"""Repairs of runs, over the stand-in Jobs API: each is begun once, whoever asks and wherever a worker dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.databricks.jobs_api import JobsApi
from app.jobs.repairs.job_repairs import JobRepairs
from app.jobs.repairs.repair_request import RepairRequest, RepairResult, RetryAttempts, StartedRetry
from app.jobs.runs.run_evidence import RunEvidence
from app.local.job_plans import SUCCESS, JobPlan, TaskPlan, failure, in_turn
from app.storage.documents import Document, DocumentStore
from app.storage.sqlite.sqlite_store import SqliteStore
from tests.fakes.job_service import JobService, job_service

FAILS = in_turn(failure("ValueError: bad"))
FAILS_ONCE = in_turn(failure("ValueError: bad"), SUCCESS)
PARAMETERS = {"batch_size": "50000", "day": "today"}


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[DocumentStore]:
    store = SqliteStore(tmp_path / "store.db")
    documents = store.documents()
    yield documents
    await documents.close()
    await store.close()


@pytest.fixture
async def jobs() -> AsyncIterator[JobService]:
    async with job_service() as service:
        yield service


def repairs_of(jobs: JobService, documents: DocumentStore, api: JobsApi | None = None) -> JobRepairs:
    return JobRepairs(api or jobs.api, documents, workspace="w", clock=lambda: jobs.now)


def failed_run(jobs: JobService, behaviour: Any = FAILS_ONCE, **settings: Any) -> RepairRequest:
    job_id = jobs.add(TaskPlan("load", behaviour), parameters=PARAMETERS, **settings)
    run = jobs.store.start(job_id)
    jobs.now += 3600
    return RepairRequest("incident/run", run.run_id, job_id, run.rounds[-1].ends_at)


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


async def test_a_run_that_never_began_gets_a_run_in_its_place_once(jobs: JobService, documents: DocumentStore) -> None:
    plan = JobPlan("nightly_etl", (TaskPlan("load"),), parameters=PARAMETERS, is_queued=False)
    job_id = jobs.store.add(plan)
    jobs.store.start(job_id)
    refused = jobs.store.start(job_id)
    asked = RepairRequest("incident/run", refused.run_id, job_id, jobs.now)
    jobs.now += 3600
    jobs.stand_in.faults["run-now"].append("carried out, cut")
    result = RepairResult()
    for _ in range(3):
        result = await repairs_of(jobs, documents).start(asked)
    assert result.started is not None
    assert result.started.kind == "run"
    started = jobs.store.run(result.started.run_id)
    assert started.job_id == job_id
    assert jobs.stand_in.calls["run-now"] == 2
    jobs.now += 3600
    assert await repairs_of(jobs, documents).outcome(result.started) == "succeeded"


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda jobs, asked: jobs.store.repair(asked.run_id, failed_tasks=True) and None, None),
        (lambda _jobs, asked: RepairRequest("x", 999, asked.job_id, asked.ended_at_seconds), "gone"),
        (
            lambda _jobs, asked: RepairRequest(
                "x", asked.run_id, asked.job_id, asked.ended_at_seconds, tasks=("no_such_task",)
            ),
            "no_such_task",
        ),
    ],
)
async def test_what_the_service_refuses_is_said_to_a_person_once(
    jobs: JobService, documents: DocumentStore, prepare: Callable[[JobService, RepairRequest], Any], said: str | None
) -> None:
    asked = failed_run(jobs)
    asked = prepare(jobs, asked) or asked
    result = await repairs_of(jobs, documents).start(asked)
    if said is None:
        assert result.started is not None
    else:
        assert said in result.refusal
        assert await repairs_of(jobs, documents).start(asked) == result


async def test_attempts_are_the_larger_of_ours_and_the_services(jobs: JobService, documents: DocumentStore) -> None:
    asked = failed_run(jobs, FAILS)
    latest = None
    for _ in range(2):
        latest = jobs.store.repair(asked.run_id, failed_tasks=True, latest_repair_id=latest)
        jobs.now += 3600
    evidence = RunEvidence(jobs.api, "w")
    found = await evidence.failure(asked.run_id)
    assert found is not None
    assert await repairs_of(jobs, documents).attempts(found) == RetryAttempts(2, 0)
    with_params = RepairRequest("own", asked.run_id, asked.job_id, found.ended_at_seconds, {"batch_size": "1"})
    await repairs_of(jobs, documents).start(with_params)
    jobs.now += 3600
    found = await evidence.failure(asked.run_id)
    assert found is not None
    assert await repairs_of(jobs, documents).attempts(found) == RetryAttempts(3, 1)


async def test_a_run_that_goes_on_for_too_long_is_canceled_however_often_that_is_asked(
    jobs: JobService, documents: DocumentStore
) -> None:
    run = jobs.store.start(jobs.add(TaskPlan("load")))
    green = jobs.store.start(jobs.add(TaskPlan("load")))
    repairs = repairs_of(jobs, documents)
    assert await repairs.cancel(run.run_id) == ""
    jobs.now += 3600
    assert await repairs.cancel(run.run_id) == ""
    assert "ended already" in await repairs.cancel(green.run_id)
    assert "gone" in await repairs.cancel(999)
    assert await repairs.outcome(StartedRetry("run", run.run_id)) == "canceled"
    assert await repairs.outcome(StartedRetry("run", green.run_id)) == "succeeded"
    assert await repairs.outcome(StartedRetry("run", 999)) == "unknown"


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Kills at the given step: each call is a step before it is made, and one after it."""

    def __init__(self, step: int) -> None:
        self.left = step

    async def around(self, call: Awaitable[Any]) -> Any:
        self._burn(call)
        result = await call
        self._burn()
        return result

    def _burn(self, call: Awaitable[Any] | None = None) -> None:
        self.left -= 1
        if self.left == 0:
            if asyncio.iscoroutine(call):
                call.close()
            raise Killed


class FusedDocuments:
    def __init__(self, documents: DocumentStore, fuse: Fuse) -> None:
        self._documents, self._fuse = documents, fuse

    async def put(self, document: Document) -> Document:
        written: Document = await self._fuse.around(self._documents.put(document))
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)


class FusedApi:
    def __init__(self, api: JobsApi, fuse: Fuse) -> None:
        self._api, self._fuse = api, fuse

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._api, name)
        if name in {"jobs", "runs"}:
            return call  # pages, which change nothing
        return lambda *args, **named: self._fuse.around(call(*args, **named))


@pytest.mark.parametrize("never_began", [False, True])
async def test_wherever_a_worker_dies_the_next_one_repairs_the_run_once(tmp_path: Path, never_began: bool) -> None:
    for step in range(1, 40):
        store = SqliteStore(tmp_path / f"{step}.db")
        documents = store.documents()
        async with job_service() as jobs:
            if never_began:
                job_id = jobs.store.add(JobPlan("n", (TaskPlan("load"),), is_queued=False))
                jobs.store.start(job_id)
                asked = RepairRequest("incident/run", jobs.store.start(job_id).run_id, job_id, jobs.now)
                jobs.now += 3600
            else:
                asked = failed_run(jobs)
            fuse = Fuse(step)
            fused = FusedDocuments(documents, fuse), FusedApi(jobs.api, fuse)
            survived = True
            try:
                await repairs_of(jobs, fused[0], fused[1]).start(asked)  # type: ignore[arg-type]
            except Killed:
                survived = False
            result = RepairResult()
            for _ in range(3):
                jobs.now += 200
                result = await repairs_of(jobs, documents).start(asked)
            assert result.started is not None, f"killed at step {step}, the run was not retried"
            begun = (
                len(jobs.stand_in.repairs)
                + len(list(jobs.store.runs_by_start(job_id=asked.job_id)))
                - (2 if never_began else 1)
            )
            assert begun == 1, f"killed at step {step}, the run was retried {begun} times"
        await documents.close()
        await store.close()
        if survived:
            return
    pytest.fail("no step was the last one")
