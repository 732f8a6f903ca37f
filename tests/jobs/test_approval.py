"""Approvals outside of chats."""

from __future__ import annotations

import asyncio
import time

import pytest

from app.jobs.approval import ApprovalError, approve
from app.jobs.incidents.incident import Incident, IncidentState, Proposal
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import Person
from app.storage.documents import DocumentStore
from tests.jobs.incidents.test_incident_store import WORKSPACE, an_incident


@pytest.fixture
def incidents(documents: DocumentStore) -> IncidentStore:
    return IncidentStore(documents, workspace=WORKSPACE)


def proposed(**changes: object) -> Incident:
    in_an_hour = time.time() + 3600
    proposal = Proposal(id="p-1", action="RETRY", run_id=456, expires_at_seconds=in_an_hour)
    return an_incident(**{"state": IncidentState.PROPOSED, "proposal": proposal, **changes})


@pytest.mark.parametrize("by_proposal", [True, False])
async def test_an_incident_is_approved_by_its_own_id_or_its_proposals(
    incidents: IncidentStore, *, by_proposal: bool
) -> None:
    incident = await incidents.create(proposed())
    approved = await approve(incidents, " p-1 " if by_proposal else incident.id, "ann on host")
    assert approved == await incidents.find(incident.id)
    assert (approved.state, approved.decided_by) == (IncidentState.APPROVED, Person("", "", "ann on host"))
    assert [notice.kind for notice in approved.notices] == ["decided"]
    assert [each.id for each in await incidents.due(time.time() + 1)] == [incident.id], "no pass begins the retry"


async def test_of_two_approvals_at_once_one_counts(incidents: IncidentStore) -> None:
    await incidents.create(proposed())
    ends = await asyncio.gather(*(approve(incidents, "p-1", name) for name in "ab"), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["ApprovalError", "Incident"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"proposal": Proposal(id="p-1", action="RETRY", run_id=1, expires_at_seconds=1.0)}, "expired"),
        ({"decided_by": Person("t", "o", "Bob")}, "Bob has already decided"),
        ({"state": IncidentState.RETRYING}, "the incident is retrying"),
        ({"proposal": None}, "Nothing waits"),
        ({"state": IncidentState.OPEN}, "JOB_WATCH_MODE=approve"),
    ],
)
async def test_what_cannot_be_approved_is_said(incidents: IncidentStore, changes: dict[str, object], said: str) -> None:
    incident = await incidents.create(proposed(**changes))
    with pytest.raises(ApprovalError, match=said):
        await approve(incidents, incident.id, "ann")
    assert await incidents.find(incident.id) == incident


@pytest.mark.parametrize("id_", ["", "nothing", "../p-1", "p-1\x00", "x" * 5000])
async def test_an_id_that_nothing_has_is_said(incidents: IncidentStore, id_: str) -> None:
    await incidents.create(proposed())
    with pytest.raises(ApprovalError, match="There is no incident"):
        await approve(incidents, id_, "ann")
