"""Incidents without a failure: a job that is late or never started, a run that goes on for too long. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.incidents.incident import PROPOSAL_SECONDS, Incident, IncidentKind, IncidentState, Proposal
from app.jobs.incidents.incident_store import incident_id
from app.jobs.job_policy import JobPolicy, WatchMode
from app.jobs.runs.look import LateJob, LongRun
from app.jobs.runs.run_failure import RunFailure
from app.jobs.watching.incident_opening import with_notice


def late_incident(late: LateJob, *, workspace: str, tags: Mapping[str, str], now: float) -> Incident:
    due = f"{datetime.fromtimestamp(late.due_at_seconds, UTC):%Y-%m-%d %H:%M} UTC"
    cause = f"No run has started since {due}, when it was due."
    if late.run_id:
        cause = f"The run that was due at {due} is still waiting in the queue."
    elif late.kind == "never_started":
        cause = f"No run has started since {due}, and the next time it was due has passed too."
    failure = _failure(workspace, late.job_id, late.job_name, late.run_id, "", late.due_at_seconds)
    return _incident(late.kind, late.key, failure, tags, cause, now)


def long_run_incident(
    long: LongRun, policy: JobPolicy, *, workspace: str, tags: Mapping[str, str], most_mode: WatchMode, now: float
) -> Incident:
    """Where people may approve, they may cancel the run."""
    cause = f"The run goes on for {_minutes(long.running_seconds)}; {_minutes(long.expected_seconds)} were expected."
    failure = _failure(workspace, long.job_id, long.job_name, long.run_id, long.url, long.started_at_seconds)
    incident = _incident("too_long", long.key, failure, tags, cause, now)
    if WatchMode.OBSERVE in {policy.mode, most_mode}:
        return incident
    proposal = Proposal(
        id=hashlib.sha256(f"{incident.id}\ncancel".encode()).hexdigest()[:24],
        action="CANCEL",
        run_id=long.run_id,
        expires_at_seconds=now + PROPOSAL_SECONDS,
    )
    return incident.model_copy(update={"state": IncidentState.PROPOSED, "mode": policy.mode, "proposal": proposal})


def _incident(
    kind: IncidentKind, key: str, failure: RunFailure, tags: Mapping[str, str], cause: str, now: float
) -> Incident:
    incident = Incident(
        id=incident_id(failure.workspace, key),
        kind=kind,
        workspace=failure.workspace,
        job_id=failure.job_id,
        job_name=failure.job_name,
        job_tags=tags,
        error_fingerprint=key,
        state=IncidentState.OPEN,
        mode=WatchMode.OBSERVE,
        failure=failure,
        decision=Decision(DecisionAction.ESCALATE_EMAIL, "Somebody has to look at it.", cause, (), {}, 1.0, "prior"),
        runs=(),
        run_count=0,
        opened_at_seconds=now,
        changed_at_seconds=now,
    )
    return with_notice(incident, "opened", now, key)


def _failure(workspace: str, job_id: int, name: str, run_id: int, url: str, started_at_seconds: float) -> RunFailure:
    return RunFailure(
        workspace=workspace,
        job_id=job_id,
        job_name=name,
        run_id=run_id,
        url=url,
        started_at_seconds=started_at_seconds,
        ended_at_seconds=0.0,
        termination_code="",
        run_type="JOB_RUN",
        trigger="",
        parameters={},
        tasks=(),
    )


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
