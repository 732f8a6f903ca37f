"""The approval of a proposed retry outside of chats, by somebody who may write to the store of the job watch."""

from __future__ import annotations

import time
import uuid

from app.jobs.incidents.incident import Incident, IncidentState, PendingNotice
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.job_policy import Person, WatchMode

_MAX_ID_CHARACTERS = 200


class ApprovalError(Exception):
    """Nothing was approved; its text is a sentence for a person."""


async def approve(incidents: IncidentStore, id_: str, by: str) -> Incident:
    """The incident, approved; `id_` is its id or that of its proposal, and `by` the name of who approves.

    Raises `ApprovalError` and `app.storage.storage_errors.StorageError`.
    """
    now = time.time()
    found = await _find(incidents, id_.strip())
    if found is None:
        raise ApprovalError(f"There is no incident or proposal {id_.strip()[:_MAX_ID_CHARACTERS]!r} that is open.")
    notice = PendingNotice(id=uuid.uuid4().hex, kind="decided", at_seconds=now)

    def approved(incident: Incident) -> Incident:
        _check(incident, now)
        return incident.model_copy(
            update={
                "state": IncidentState.APPROVED,
                "decided_by": Person("", "", name=by),
                "changed_at_seconds": now,
                "notices": (*incident.notices, notice),
            }
        )

    changed = await incidents.update(found.id, approved)
    if changed is None:
        raise ApprovalError("The incident is gone meanwhile.")
    return changed


async def _find(incidents: IncidentStore, id_: str) -> Incident | None:
    if not id_ or len(id_) > _MAX_ID_CHARACTERS:
        return None
    if (incident := await incidents.find(id_)) is not None:
        return incident
    waiting = (each for each in await incidents.open() if each.proposal is not None and each.proposal.id == id_)
    return next(waiting, None)


def _check(incident: Incident, now: float) -> None:
    """Raises `ApprovalError`."""
    if incident.decided_by is not None:
        raise ApprovalError(f"{incident.decided_by.name or 'Somebody'} has already decided.")
    if incident.state is IncidentState.OPEN and incident.mode is WatchMode.OBSERVE:
        raise ApprovalError("The job is only observed: JOB_WATCH_MODE=approve lets its next failure be repaired.")
    if incident.state is not IncidentState.PROPOSED or incident.proposal is None:
        raise ApprovalError(f"Nothing waits for an approval: the incident is {incident.state}.")
    if now >= incident.proposal.expires_at_seconds:
        raise ApprovalError("The proposal has expired; the next failure of the job makes another one.")
