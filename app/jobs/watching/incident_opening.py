"""What a pass makes of failures: a new incident, or another failure of one that is open. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from app.jobs.decisions.decision import DecisionAction
from app.jobs.incidents.incident import (
    PROPOSAL_SECONDS,
    Incident,
    IncidentRun,
    IncidentState,
    NoticeKind,
    PendingNotice,
    Proposal,
    Retry,
)
from app.jobs.incidents.incident_store import MAX_RUNS, incident_id, stored_failure
from app.jobs.job_policy import WatchMode
from app.jobs.watching.found_failure import FoundFailure

_WAITS_FOR_NOTHING = frozenset({IncidentState.OPEN, IncidentState.ESCALATED})
_MAX_NOTICE_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class _Plan:
    state: IncidentState
    notice: NoticeKind | None
    proposal: Proposal | None = None
    act_at_seconds: float = 0.0


def new_incident(found: Sequence[FoundFailure], now: float) -> Incident:
    """Of at most `MAX_RUNS` failures with one cause, the first of which stands for all."""
    first = found[0]
    id_ = incident_id(first.failure.workspace, first.run.key)
    plan = _plan(first, id_, now)
    incident = Incident(
        id=id_,
        workspace=first.failure.workspace,
        job_id=first.run.job_id,
        job_name=first.failure.job_name or first.run.job_name,
        job_tags=first.tags,
        error_fingerprint=first.fingerprint,
        state=plan.state,
        mode=first.mode,
        failure=stored_failure(first.failure),
        decision=first.guarded.decision,
        runs=tuple(_run(each, first) for each in found),
        run_count=len(found),
        opened_at_seconds=now,
        changed_at_seconds=now,
        rule=first.guarded.rule,
        proposal=plan.proposal,
        act_at_seconds=plan.act_at_seconds,
    )
    return incident if plan.notice is None else with_notice(incident, plan.notice, now, first.run.key)


def with_repeat(incident: Incident, found: FoundFailure, now: float) -> Incident | None:
    """With one more failure of the same cause; None where it has this one already."""
    if any(run.key == found.run.key for run in incident.runs):
        return None
    runs = (*incident.runs, _run(found))
    changes = {"runs": runs[-MAX_RUNS:], "run_count": incident.run_count + 1, "changed_at_seconds": now}
    return with_notice(incident.model_copy(update=changes), "repeated", now, found.run.key)


def with_failed_retry(incident: Incident, found: FoundFailure, now: float) -> Incident | None:
    """A run that was retried for this incident failed again: what is decided now takes the place of what was, unless
    another run was faster. Then the run is a further failure of the same cause, or no part of this incident.
    """
    if any(run.key == found.run.key for run in incident.runs):
        return None
    retries = tuple(_failed(each, found, now) for each in incident.retries)
    was_known = retries == incident.retries
    if incident.state is not IncidentState.RETRYING and not (was_known and incident.state in _WAITS_FOR_NOTHING):
        marked = incident.model_copy(update={"retries": retries})
        return with_repeat(marked, found, now) if found.fingerprint == incident.error_fingerprint else marked
    plan = _plan(found, incident.id, now)
    # What is decided now is decided about this run alone.
    others = (run.model_copy(update={"may_retry": False}) for run in incident.runs)
    changes: dict[str, object] = {
        "error_fingerprint": found.fingerprint,
        "state": plan.state,
        "mode": found.mode,
        "failure": stored_failure(found.failure),
        "decision": found.guarded.decision,
        "rule": found.guarded.rule,
        "proposal": plan.proposal,
        "act_at_seconds": plan.act_at_seconds,
        "runs": (*others, _run(found, found))[-MAX_RUNS:],
        "run_count": incident.run_count + 1,
        "retries": retries,
        "changed_at_seconds": now,
        "decided_by": None,
    }
    changed = with_notice(incident.model_copy(update=changes), "retry_failed", now, found.run.key)
    return changed if plan.notice in {None, "opened"} else with_notice(changed, plan.notice, now, found.run.key)


def with_notice(incident: Incident, kind: NoticeKind, now: float, cause: str, text: str = "") -> Incident:
    """`cause` is what happened: the same cause is told once."""
    id_ = hashlib.sha256(f"{incident.id}\n{kind}\n{cause}".encode()).hexdigest()[:24]
    notice = PendingNotice(id=id_, kind=kind, at_seconds=now, text=text[:_MAX_NOTICE_CHARACTERS])
    return incident.model_copy(update={"notices": (*incident.notices, notice)})


def _plan(found: FoundFailure, incident: str, now: float) -> _Plan:
    decision, guarded = found.guarded.decision, found.guarded
    if decision.action is DecisionAction.SKIP:
        return _Plan(IncidentState.SKIPPED, None)
    if decision.action is DecisionAction.ESCALATE_EMAIL:
        return _Plan(IncidentState.ESCALATED, "escalated")
    is_automatic = found.mode is WatchMode.AUTO and guarded.may_act
    proposal = Proposal(
        id=hashlib.sha256(f"{incident}\n{found.run.key}\nproposal".encode()).hexdigest()[:24],
        action="RETRY" if decision.action is DecisionAction.RETRY else "RETRY_WITH_PARAMS",
        run_id=found.run.run_id,
        parameters=decision.suggested_params,
        expires_at_seconds=now + PROPOSAL_SECONDS,
        reason_not_automatic="" if is_automatic else guarded.sentence,
    )
    if is_automatic and decision.delay_seconds:
        return _Plan(IncidentState.DELAYED, "opened", proposal, now + decision.delay_seconds)
    if is_automatic:
        return _Plan(IncidentState.APPROVED, "opened", proposal)
    if found.mode is WatchMode.OBSERVE:
        return _Plan(IncidentState.OPEN, "opened", proposal)
    return _Plan(IncidentState.PROPOSED, "proposed", proposal)


def _run(found: FoundFailure, first: FoundFailure | None = None) -> IncidentRun:
    """A retry of the incident also retries this run where whoever may decide about the first may decide about it."""
    may_retry = (
        first is not None
        and found.guarded.decision.action is first.guarded.decision.action
        and found.guarded.may_act >= first.guarded.may_act
        and found.mode is first.mode
        and found.policy.approvers == first.policy.approvers
        and (found is first or found.guarded.decision.action is DecisionAction.RETRY)
    )
    run = found.run
    return IncidentRun(
        key=run.key,
        run_id=run.run_id,
        job_id=run.job_id,
        job_name=run.job_name,
        url=found.failure.url or run.url,
        ended_at_seconds=run.ended_at_seconds,
        may_retry=may_retry,
    )


def _failed(retry: Retry, found: FoundFailure, now: float) -> Retry:
    if retry.run_id != found.run.run_id or retry.outcome:
        return retry
    return retry.model_copy(update={"outcome": "failed", "ended_at_seconds": now})
