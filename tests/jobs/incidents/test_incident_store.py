"""Incidents in the store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.jobs.incidents.incident import (
    CHECK_SECONDS,
    Incident,
    IncidentRun,
    IncidentState,
    PendingNotice,
    Proposal,
    Retry,
)
from app.jobs.incidents.incident_store import MAX_RUNS, IncidentStore, incident_id
from app.jobs.job_policy import WatchMode
from app.storage.documents import MAX_DOCUMENT_CHARACTERS, DocumentStore
from tests.jobs.mail.test_incident_mail import DECISION, RUN

WORKSPACE = "adb-1.azuredatabricks.net"


@pytest.fixture
def incidents(documents: DocumentStore) -> IncidentStore:
    return IncidentStore(documents, workspace=WORKSPACE)


def an_incident(**changes: object) -> Incident:
    fields = {
        "id": incident_id(WORKSPACE, "456-1000"),
        "workspace": WORKSPACE,
        "job_id": 123,
        "job_name": "nightly_etl",
        "error_fingerprint": "oom",
        "state": IncidentState.OPEN,
        "mode": WatchMode.OBSERVE,
        "failure": RUN,
        "decision": DECISION,
        "runs": (),
        "run_count": 1,
        "opened_at_seconds": 1000.0,
        "changed_at_seconds": 1000.0,
    }
    return Incident.model_validate(fields | changes)


async def test_an_incident_is_read_as_it_was_stored(incidents: IncidentStore) -> None:
    incident = an_incident()
    await incidents.create(incident)
    assert await incidents.find(incident.id) == incident
    assert await incidents.find_open(123, "oom") == incident


async def test_a_repeated_pass_finds_the_incident_it_opened_before(incidents: IncidentStore) -> None:
    first = await incidents.create(an_incident(note="the first"))
    assert await incidents.create(an_incident(note="the second")) == first
    assert [each.note for each in await incidents.open()] == ["the first"]


async def test_a_closed_incident_leaves_room_for_another_of_the_same_failure(incidents: IncidentStore) -> None:
    first = await incidents.create(an_incident())
    await incidents.update(first.id, lambda each: each.model_copy(update={"state": IncidentState.RECOVERED}))
    assert await incidents.find_open(123, "oom") is None
    second = await incidents.create(an_incident(id="another"))
    assert await incidents.open_of_job(123) == [second]


async def test_changes_of_two_workers_at_once_are_both_kept(incidents: IncidentStore) -> None:
    incident = await incidents.create(an_incident(run_count=0))
    counted = [
        incidents.update(incident.id, lambda each: each.model_copy(update={"run_count": each.run_count + 1}))
        for _ in range(5)
    ]
    await asyncio.gather(*counted)
    found = await incidents.find(incident.id)
    assert found is not None
    assert found.run_count == 5


async def test_an_incident_is_left_alone_where_the_change_says_so(incidents: IncidentStore) -> None:
    incident = await incidents.create(an_incident())
    assert await incidents.update(incident.id, lambda _: None) is None
    assert await incidents.update("unknown", lambda each: each) is None


@pytest.mark.parametrize(
    ("changes", "due_at"),
    [
        ({}, None),
        ({"notices": (PendingNotice(id="n", kind="opened", at_seconds=1000.0),)}, 1000.0),
        (
            {
                "notices": (PendingNotice(id="n", kind="opened", at_seconds=1000.0),),
                "snoozed_until_seconds": 5000.0,
            },
            5000.0,
        ),
        (
            {
                "state": IncidentState.PROPOSED,
                "proposal": Proposal(id="p", action="RETRY", run_id=456, expires_at_seconds=9000.0),
            },
            9000.0,
        ),
        ({"state": IncidentState.DELAYED, "act_at_seconds": 1300.0}, 1300.0),
        ({"state": IncidentState.APPROVED}, 1000.0),
        ({"state": IncidentState.RETRYING}, 1000.0 + CHECK_SECONDS),
        ({"state": IncidentState.RECOVERED}, None),
    ],
)
async def test_an_incident_is_due_when_a_pass_has_to_look_at_it_again(
    incidents: IncidentStore, changes: dict[str, object], due_at: float | None
) -> None:
    await incidents.create(an_incident(**changes))
    if due_at is None:
        assert await incidents.due(1e12) == []
    else:
        assert await incidents.due(due_at - 1) == []
        assert len(await incidents.due(due_at)) == 1


async def test_the_largest_evidence_still_fits_into_the_store(incidents: IncidentStore) -> None:
    task = replace(RUN.tasks[0], trace='"\\' * 20_000, message='"\\' * 500, error='"\\' * 2_000)
    failure = replace(RUN, tasks=(task,) * 50, parameters={f"name{n}": '"\\' * 5_000 for n in range(100)})
    assert len(an_incident(failure=failure).model_dump_json()) > MAX_DOCUMENT_CHARACTERS
    await incidents.create(an_incident(failure=failure))
    found = await incidents.find_open(123, "oom")
    assert found is not None
    assert found.failure.tasks[0].error == task.error


async def test_an_incident_with_the_most_runs_still_fits_into_the_store_after_several_retries(
    incidents: IncidentStore,
) -> None:
    runs = [
        IncidentRun(
            key=f"{number}-1790000000000",
            run_id=number,
            job_id=number + 10**15,
            job_name='"' * 300,
            url="https://adb-1.azuredatabricks.net/" + "x" * 400,
            ended_at_seconds=1_790_000_000.123,
            may_retry=True,
        )
        for number in range(10**15, 10**15 + MAX_RUNS)
    ]
    retries = [
        Retry(
            id=f"{proposal}/{run.key}",
            proposal=proposal,
            of_run=run.key,
            kind="repair",
            run_id=run.run_id,
            repair_id=run.run_id,
            started_at_seconds=1_790_000_000.123,
            approved_by="Alice",
            outcome="failed" if proposal != "3" * 24 else "",
        )
        for proposal in ("1" * 24, "2" * 24, "3" * 24)
        for run in runs
    ]
    proposal = Proposal(id="3" * 24, action="RETRY", run_id=456, expires_at_seconds=9000.0)
    task = replace(RUN.tasks[0], trace='"' * 20_000, message='"' * 500, error='"' * 2_000)
    incident = an_incident(
        runs=runs, retries=retries, proposal=proposal, failure=replace(RUN, tasks=(task,) * 10), state="retrying"
    )
    assert len(incident.model_dump_json()) > MAX_DOCUMENT_CHARACTERS
    await incidents.create(incident)
    found = await incidents.find(incident.id)
    assert found is not None
    assert [run.run_id for run in found.runs] == [run.run_id for run in runs]
    assert found.retries == tuple(retries[-MAX_RUNS:])


async def test_what_is_due_of_other_workspaces_holds_up_none(
    documents: DocumentStore, incidents: IncidentStore
) -> None:
    other = IncidentStore(documents, workspace="adb-2.azuredatabricks.net")
    for number in range(7):
        await other.create(an_incident(id=f"other {number}", state=IncidentState.APPROVED))
    mine = await incidents.create(an_incident(state=IncidentState.APPROVED, changed_at_seconds=2000.0))
    assert await incidents.due(3000.0, limit=2) == [mine]


async def test_another_workspace_sees_none_of_them(documents: DocumentStore, incidents: IncidentStore) -> None:
    await incidents.create(an_incident(state=IncidentState.APPROVED))
    other = IncidentStore(documents, workspace="adb-2.azuredatabricks.net")
    assert await other.open() == []
    assert await other.due(1e12) == []
