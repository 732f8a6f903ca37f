"""Begins the retries that were decided for incidents, and finds out how they ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from app.common.concurrency import gather_or_cancel
from app.common.iso_time import iso_time
from app.jobs.decisions.parameter_rules import without_performance_target
from app.jobs.history.decision_records import DecisionRecords, record_key
from app.jobs.incidents.incident import Incident, IncidentRun, IncidentState, Proposal, Retry
from app.jobs.incidents.incident_store import IncidentStore
from app.jobs.repairs.job_repairs import JobRepairs
from app.jobs.repairs.repair_request import RepairRequest, RepairResult, RetryOutcome, StartedRetry
from app.jobs.watching.incident_opening import with_notice

_MAX_CONCURRENT_RETRIES = 8


class IncidentRetries:
    """`clock` is in seconds since 1970. Methods raise `StorageError`, and `WorkspaceError` where a later call may do
    what this one could not.
    """

    def __init__(
        self,
        repairs: JobRepairs,
        incidents: IncidentStore,
        records: DecisionRecords,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._repairs = repairs
        self._incidents = incidents
        self._records = records
        self._clock = clock
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_RETRIES)

    async def begin(self, incident_id: str) -> Incident | None:
        """Begins what was approved, once, however often and from wherever it is called; the incident as it is then."""
        incident = await self._incidents.find(incident_id)
        if incident is None or incident.state is not IncidentState.APPROVED or incident.proposal is None:
            return incident
        proposal = incident.proposal
        if proposal.action == "CANCEL":
            return await self._cancel(incident, proposal)
        begun: list[Retry] = []
        told: list[str] = []
        runs = _runs(incident, proposal)
        results = await gather_or_cancel(self._start(_request(incident, proposal, run)) for run in runs)
        for run, result in zip(runs, results, strict=True):
            if result.started is not None:
                begun.append(self._retry(incident, proposal, run, result.started))
            elif not result.refusal:
                # What is begun is found again under the same request.
                return incident
            told += filter(None, (result.note, result.refusal))
        for run, retry in ((run, retry) for retry in begun for run in runs if run.key == retry.of_run):
            await self._records.update(record_key(run.ended_at_seconds, run.key), {"approved_by": retry.approved_by})
        return await self._incidents.update(incident.id, lambda each: self._after_begin(each, proposal, begun, told))

    async def follow(self, incident: Incident) -> Incident | None:
        """Looks at the retries that had not ended; the incident after that, or None where nothing changed."""
        outcomes: dict[str, Retry] = {}
        followed = [retry for retry in incident.retries if not retry.outcome]
        found = await gather_or_cancel(self._outcome(retry) for retry in followed)
        for retry, outcome in zip(followed, found, strict=True):
            if outcome != "active":
                changes = {"outcome": outcome, "ended_at_seconds": self._clock()}
                outcomes[retry.id] = retry.model_copy(update=changes)
        if not outcomes:
            return await self._incidents.update(incident.id, self._looked_at)
        await self.record_outcomes(incident, list(outcomes.values()))
        return await self._incidents.update(incident.id, lambda each: self._after_end(each, outcomes))

    async def record_outcomes(self, incident: Incident, ended: Sequence[Retry]) -> None:
        """Adds to the decisions about the runs that were retried how that ended."""
        keys = {run.key: run for run in incident.runs}
        for retry in ended:
            if (run := keys.get(retry.of_run)) is not None and retry.outcome:
                at = iso_time(retry.ended_at_seconds)
                changes = {"outcome": retry.outcome, "outcome_at": at, "approved_by": retry.approved_by}
                await self._records.update(record_key(run.ended_at_seconds, run.key), changes)

    async def _start(self, request: RepairRequest) -> RepairResult:
        async with self._slots:
            return await self._repairs.start(request)

    async def _outcome(self, retry: Retry) -> RetryOutcome:
        async with self._slots:
            return await self._repairs.outcome(StartedRetry(retry.kind, retry.run_id, retry.repair_id))

    async def _cancel(self, incident: Incident, proposal: Proposal) -> Incident | None:
        refusal = await self._repairs.cancel(proposal.run_id)
        return await self._incidents.update(incident.id, lambda each: self._after_cancel(each, proposal, refusal))

    def _after_cancel(self, incident: Incident, proposal: Proposal, refusal: str) -> Incident | None:
        if incident.state is not IncidentState.APPROVED or incident.proposal != proposal:
            return None
        now = self._clock()
        if refusal:
            return self._refused(incident, proposal, [refusal], now)
        changed = incident.model_copy(update={"state": IncidentState.CLOSED, "changed_at_seconds": now})
        return with_notice(changed, "changed", now, f"{proposal.id} canceled")

    def _after_begin(
        self, incident: Incident, proposal: Proposal, begun: Sequence[Retry], told: Sequence[str]
    ) -> Incident | None:
        if incident.state is not IncidentState.APPROVED or incident.proposal != proposal:
            return None
        now = self._clock()
        if not begun:
            return self._refused(incident, proposal, told, now)
        changes = {
            "state": IncidentState.RETRYING,
            "retries": (*incident.retries, *begun),
            "changed_at_seconds": now,
        }
        return with_notice(incident.model_copy(update=changes), "retry_started", now, proposal.id, _once(told))

    def _refused(self, incident: Incident, proposal: Proposal, refusals: Sequence[str], now: float) -> Incident:
        changed = incident.model_copy(update={"state": IncidentState.ESCALATED, "changed_at_seconds": now})
        changed = with_notice(changed, "retry_refused", now, proposal.id, _once(refusals))
        return with_notice(changed, "escalated", now, proposal.id)

    def _looked_at(self, incident: Incident) -> Incident | None:
        if incident.state is not IncidentState.RETRYING:
            return None
        return incident.model_copy(update={"changed_at_seconds": self._clock()})

    def _after_end(self, incident: Incident, outcomes: dict[str, Retry]) -> Incident | None:
        now = self._clock()
        retries = tuple(outcomes.get(each.id, each) if not each.outcome else each for each in incident.retries)
        incident = incident.model_copy(update={"retries": retries, "changed_at_seconds": now})
        if incident.state is not IncidentState.RETRYING:
            return incident
        mine = [each for each in retries if incident.proposal is None or each.proposal == incident.proposal.id]
        if any(not each.outcome for each in mine):
            return incident
        cause = ",".join(each.id for each in mine)
        if all(each.outcome == "succeeded" for each in mine):
            return with_notice(incident.model_copy(update={"state": IncidentState.RECOVERED}), "recovered", now, cause)
        changed = incident.model_copy(update={"state": IncidentState.ESCALATED})
        return with_notice(with_notice(changed, "retry_failed", now, cause), "escalated", now, cause)

    def _retry(self, incident: Incident, proposal: Proposal, run: IncidentRun, started: StartedRetry) -> Retry:
        return Retry(
            id=f"{proposal.id}/{run.key}",
            proposal=proposal.id,
            of_run=run.key,
            kind=started.kind,
            run_id=started.run_id,
            repair_id=started.repair_id,
            parameters=proposal.parameters,
            started_at_seconds=self._clock(),
            by_us=started.by_us,
            approved_by=incident.decided_by.name or incident.decided_by.entra_object_id if incident.decided_by else "",
        )


def _runs(incident: Incident, proposal: Proposal) -> list[IncidentRun]:
    """The run of the proposal, and each other that may be retried with it: of each, its last end."""
    last = {run.run_id: run for run in incident.runs if run.may_retry or run.run_id == proposal.run_id}
    if proposal.action == "RETRY_WITH_PARAMS":
        return [run for run in last.values() if run.run_id == proposal.run_id]
    return list(last.values())


def _once(sentences: Sequence[str]) -> str:
    return " ".join(dict.fromkeys(sentences))


def _request(incident: Incident, proposal: Proposal, run: IncidentRun) -> RepairRequest:
    failure = incident.failure
    is_known = failure.run_id == run.run_id and failure.has_all_parameters
    parameters, performance_target = without_performance_target(proposal.parameters, failure)
    return RepairRequest(
        id=f"{proposal.id}/{run.key}",
        run_id=run.run_id,
        job_id=run.job_id,
        ended_at_seconds=run.ended_at_seconds,
        parameters=parameters,
        tasks=proposal.tasks if run.run_id == proposal.run_id else (),
        performance_target=performance_target or proposal.performance_target,
        run_parameters=failure.parameters if is_known else None,
    )
