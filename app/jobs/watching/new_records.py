"""The rows of the history for one failure. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from app.common.iso_time import iso_time
from app.jobs.clean_text import clean_block, clean_line
from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.history.decision_record import OBSERVED, PRIMARY, DecisionRecord
from app.jobs.history.decision_records import record_key
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.watching.found_failure import FoundFailure

_NAME = 300
_SENTENCE = 1_000
_ERROR = 2_000
_EVIDENCE = 6_000
_MAX_PARAMETERS = 50


def new_records(found: FoundFailure, incident: Incident, pass_id: str, at_seconds: float) -> Iterator[DecisionRecord]:
    """One, and one of the second strategy where there is one. Everything is bounded and without secrets."""
    shared = {"incident_id": incident.id, "pass_id": pass_id, "at": iso_time(at_seconds)}
    own = {
        "strategy": PRIMARY,
        "model": found.model if found.decided.source == "model" else "",
        "rule": found.guarded.rule,
        "action": _action(found, incident),
        "proposal_id": incident.proposal.id if incident.proposal is not None else "",
    }
    yield DecisionRecord.model_validate(_fields(found, found.guarded.decision, PRIMARY) | shared | own)
    if found.observed is not None:
        own = {
            "strategy": OBSERVED,
            "model": found.observed_model if found.observed.source == "model" else "",
            "action": "observed",
        }
        yield DecisionRecord.model_validate(_fields(found, found.observed, OBSERVED) | shared | own)


def _action(found: FoundFailure, incident: Incident) -> str:
    """What the pass does about it; a further failure of an open incident is only told."""
    action = found.guarded.decision.action
    if action is DecisionAction.SKIP:
        return "skipped"
    if action is DecisionAction.ESCALATE_EMAIL:
        return "escalated"
    is_retried = any(run.key == found.run.key and run.may_retry for run in incident.runs)
    if is_retried and incident.state in {IncidentState.APPROVED, IncidentState.DELAYED, IncidentState.RETRYING}:
        return "retried" if action is DecisionAction.RETRY else "retried_with_params"
    return "proposed"


def _fields(found: FoundFailure, decision: Decision, strategy: str) -> dict[str, str | int]:
    failure, run = found.failure, found.run
    task = failure.tasks[0] if failure.tasks else None
    hypotheses = [
        {"text": clean_line(each.text, _SENTENCE), "evidence": clean_line(each.evidence, _SENTENCE)}
        for each in decision.hypotheses[:3]
    ]
    return {
        "key": record_key(run.ended_at_seconds, run.key, strategy),
        "workspace": failure.workspace,
        "mode": found.mode.value,
        "run_id": run.run_id,
        "job_id": run.job_id,
        "job_name": clean_line(failure.job_name or run.job_name, _NAME),
        "task_key": clean_line(task.task_key, _NAME) if task else "",
        "termination_code": clean_line(task.termination_code if task else failure.termination_code, _NAME),
        "error": clean_block((task.error or task.message) if task else "", _ERROR),
        "error_fingerprint": found.fingerprint,
        "evidence": clean_block(task.trace, _EVIDENCE) if task else "",
        "decision": decision.action.value,
        "cause": clean_line(decision.cause, _SENTENCE),
        "reason": clean_line(decision.reason, _SENTENCE),
        "hypotheses": json.dumps(hypotheses, ensure_ascii=False),
        "confidence_percent": round(100 * decision.confidence),
        "source": decision.source,
        "parameters": _parameters(decision.suggested_params),
    }


def _parameters(parameters: Mapping[str, str]) -> str:
    # Redacted as the pair that it is, since only the name may say that the value is a secret.
    pairs = (clean_line(f"{name}={value}", _NAME) for name, value in list(parameters.items())[:_MAX_PARAMETERS])
    return json.dumps({name: value for name, _, value in (pair.partition("=") for pair in pairs)}, ensure_ascii=False)
