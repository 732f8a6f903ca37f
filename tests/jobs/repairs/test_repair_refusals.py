"""What cannot be repaired: a run in its place, or a sentence for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.jobs.repairs import repair_sentences as sentences
from app.jobs.repairs.repair_request import RepairRequest, RepairResult
from app.local.job_plans import JobPlan, TaskPlan
from app.storage.documents import DocumentStore
from tests.fakes.job_service import JobService
from tests.jobs.repairs.repair_harness import (
    PARAMETERS,
    failed_run,
    refuses_repairs,
    repairs_of,
)


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


async def test_a_run_that_is_gone_gets_a_run_in_its_place_where_its_parameters_are_known(
    jobs: JobService, documents: DocumentStore
) -> None:
    asked = failed_run(jobs)
    jobs.now += 61 * 24 * 3600
    known = replace(asked, run_parameters={"batch_size": "50000", "day": "monday"}, parameters={"batch_size": "10"})
    result = await repairs_of(jobs, documents).start(known)
    assert result.started is not None
    assert result.started.kind == "run"
    assert result.note == sentences.GONE_SO_RUN
    started = jobs.store.run(result.started.run_id)
    assert started.parameters == {"batch_size": "10", "day": "monday"}
    assert await repairs_of(jobs, documents).start(known) == result
    unknown = replace(asked, id="another", ended_at_seconds=asked.ended_at_seconds + 9)
    assert (await repairs_of(jobs, documents).start(unknown)).refusal == sentences.RUN_GONE


NEW_RUN_TEXTS = [
    ("Inputs of a For each task repair must resolve to the same total iterations", sentences.OTHER_ITERATIONS),
    ("Run 7 is too old and can no longer be used.", sentences.TOO_OLD),
    ("Run 7 has no failed tasks to repair.", sentences.NEVER_BEGAN),
    ("Repair is not supported for runs of this format.", sentences.NOT_REPAIRABLE),
    ("The run cannot be repaired.", sentences.NOT_REPAIRABLE),
]


@pytest.mark.parametrize(("text", "note"), NEW_RUN_TEXTS)
async def test_a_run_that_the_service_cannot_repair_gets_a_run_in_its_place_and_people_are_told_why(
    jobs: JobService, documents: DocumentStore, text: str, note: str
) -> None:
    asked = failed_run(jobs)
    refuses_repairs(jobs, text)
    result = await repairs_of(jobs, documents).start(asked)
    assert result.started is not None
    assert (result.started.kind, result.note) == ("run", note)
    assert dict(jobs.store.run(result.started.run_id).parameters) == PARAMETERS


REFUSED_TEXTS = [
    ("Job 7 does not exist.", sentences.JOB_GONE),
    ("Run 7 does not exist.", sentences.RUN_GONE),
    (
        "Value of password=hunter2hunter2 is not valid.",
        "Databricks refused to repair it: Value of password=[secret removed] is not valid.",
    ),
    ("The number of active runs would exceed the limit.", None),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED_TEXTS)
async def test_a_repair_that_is_refused_is_refused_in_a_sentence_and_runs_nothing(
    jobs: JobService, documents: DocumentStore, text: str, sentence: str | None
) -> None:
    asked = failed_run(jobs)
    refuses_repairs(jobs, text)
    result = await repairs_of(jobs, documents).start(asked)
    assert result == RepairResult(refusal=sentence or f"Databricks refused to repair it: {text}")
    assert jobs.stand_in.calls["run-now"] == 0


async def test_a_job_that_was_deleted_or_may_not_be_repaired_meanwhile_is_named_as_such(
    jobs: JobService, documents: DocumentStore
) -> None:
    deleted, hidden = failed_run(jobs), replace(failed_run(jobs), id="hidden")
    jobs.store.delete(deleted.job_id)
    jobs.store.edit(hidden.job_id, replace(jobs.store.job(hidden.job_id), is_hidden=True))
    repairs = repairs_of(jobs, documents)
    assert (await repairs.start(deleted)).refusal == sentences.JOB_GONE
    assert (await repairs.start(hidden)).refusal == sentences.NO_PERMISSION


async def test_a_performance_target_is_sent_on_serverless_only(jobs: JobService, documents: DocumentStore) -> None:
    serverless = replace(failed_run(jobs, is_serverless=True), performance_target="STANDARD")
    classic = replace(failed_run(jobs), id="classic", performance_target="STANDARD")
    assert (await repairs_of(jobs, documents).start(serverless)).started is not None
    assert [each["performance_target"] for each in jobs.stand_in.repairs] == ["STANDARD"]
    assert (await repairs_of(jobs, documents).start(classic)).refusal == sentences.NOT_SERVERLESS
