"""What is known of an incident, in a few words each, for chats, programs and mail. Pure. All that comes from outside is
bounded and without secrets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from app.content.blocks import Fact
from app.jobs.clean_text import clean_line
from app.jobs.decisions.decision import DecisionAction
from app.jobs.incidents import incident_sentences as sentences
from app.jobs.incidents.incident import Incident, IncidentState
from app.translation import Sentence, Translator

_NAME = 100
_SENTENCE = 300
_MAX_PARAMETERS = 10
_MAX_RUNS = 5

_STATES: Final = {
    IncidentState.OPEN: Sentence("Open"),
    IncidentState.PROPOSED: Sentence("Waiting for a decision"),
    IncidentState.DELAYED: Sentence("Automatic retry scheduled"),
    IncidentState.APPROVED: Sentence("About to be carried out"),
    IncidentState.RETRYING: Sentence("The retry is running"),
    IncidentState.ESCALATED: Sentence("Escalated"),
    IncidentState.RECOVERED: Sentence("Recovered"),
    IncidentState.SKIPPED: Sentence("Skipped"),
    IncidentState.CLOSED: Sentence("Closed"),
}
_NOT_PROPOSED: Final = {
    DecisionAction.RETRY: sentences.RETRY,
    DecisionAction.RETRY_WITH_PARAMS: sentences.RETRY_WITH_PARAMS,
    DecisionAction.ESCALATE_EMAIL: sentences.NEEDS_A_PERSON,
    DecisionAction.SKIP: sentences.NOTHING_TO_DO,
}
_PROPOSED: Final = {
    "RETRY": sentences.RETRY,
    "RETRY_WITH_PARAMS": sentences.RETRY_WITH_PARAMS,
    "CANCEL": sentences.CANCEL,
}


def job_name(incident: Incident) -> str:
    return clean_line(incident.job_name, _NAME) or f"Job {incident.job_id}"


def cause_of(incident: Incident) -> str:
    return clean_line(incident.decision.cause, _SENTENCE)


def state_of(incident: Incident, translate: Translator) -> str:
    said = translate(_STATES[incident.state])
    if incident.state is IncidentState.PROPOSED and incident.proposal is not None:
        until = time_text(incident.proposal.expires_at_seconds)
        return f"{said}, {translate(sentences.UNTIL, time=until)}"
    if incident.state is IncidentState.DELAYED and (moment := time_text(incident.act_at_seconds)):
        return f"{said}, {moment}"
    return said


def action_text(incident: Incident, translate: Translator) -> str:
    """What is proposed or was approved, with each parameter that changes; in plain text."""
    proposal = incident.proposal
    if proposal is None:
        return translate(_NOT_PROPOSED[incident.decision.action])
    said = translate(_PROPOSED[proposal.action])
    before = dict(shown_parameters(incident.failure.parameters))
    changes = [
        f"{name}: {before[name]} → {value}" if name in before else f"{name} = {value}"
        for name, value in shown_parameters(proposal.parameters)
    ]
    if proposal.performance_target:
        changes.append(f"performance_target = {clean_line(proposal.performance_target, _NAME)}")
    return f"{said}: {', '.join(changes)}" if changes else said


def time_text(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC" if seconds > 0 else ""
    except (ValueError, OverflowError, OSError):
        return ""


def facts_of(incident: Incident, translate: Translator) -> Iterator[Fact]:
    """Where it stands, in plain text; only what there is."""
    failure, proposal = incident.failure, incident.proposal
    tasks = ", ".join(clean_line(task.task_key, _NAME) for task in failure.tasks[:5])
    acknowledged = incident.acknowledged_by
    rows: Iterable[tuple[Sentence, str]] = (
        (sentences.STATE, state_of(incident, translate)),
        (sentences.DECIDED_BY, decided_by_name(incident)),
        (sentences.CAUSE, cause_of(incident)),
        (sentences.TASK, tasks),
        (sentences.ERROR, _first_error(incident)),
        (sentences.ACTION, action_text(incident, translate)),
        (sentences.RETRIED, _retried_runs(incident)),
        (sentences.TASKS, ", ".join(clean_line(task, _NAME) for task in (proposal.tasks if proposal else ()))),
        (sentences.WHY, clean_line(incident.decision.reason, _SENTENCE)),
        (sentences.ASKED_BECAUSE, clean_line(proposal.reason_not_automatic, _SENTENCE) if proposal else ""),
        (sentences.RUN, f"{failure.run_id}" if failure.run_id else ""),
        (sentences.RUNS, f"{incident.run_count}" if incident.run_count > 1 else ""),
        (sentences.ENDED, time_text(failure.ended_at_seconds)),
        (sentences.NOTICE, " ".join(translate(each) for each in _warnings(incident))),
        (sentences.TAKEN_BY, clean_line(acknowledged.name, _NAME) if acknowledged else ""),
        (sentences.ASSIGNED, clean_line(incident.assigned_to, _NAME)),
        (sentences.NOTE, clean_line(incident.note, _SENTENCE)),
        (sentences.SNOOZED, time_text(incident.snoozed_until_seconds)),
        (sentences.WRONG, f"{len(incident.wrong_diagnosis_by)}" if incident.wrong_diagnosis_by else ""),
    )
    for label, value in rows:
        if value:
            yield Fact(translate(label), value)


def decided_by_name(incident: Incident) -> str:
    return clean_line(incident.decided_by.name, _NAME) if incident.decided_by is not None else ""


def _first_error(incident: Incident) -> str:
    errors = (task.error or task.message for task in incident.failure.tasks)
    error = clean_line(next(errors, "").strip().partition("\n")[0], _SENTENCE)
    return "" if error == cause_of(incident) else error


def _retried_runs(incident: Incident) -> str:
    """Where a retry is of more than one run: they failed for the same cause, and the same people decide about them."""
    if incident.proposal is None or incident.proposal.action != "RETRY":
        return ""
    runs = {run.run_id: run for run in incident.runs if run.may_retry or run.run_id == incident.proposal.run_id}
    named = [f"{clean_line(run.job_name, _NAME)} ({run.run_id})" for run in list(runs.values())[:_MAX_RUNS]]
    more = [f"+{len(runs) - _MAX_RUNS}"] if len(runs) > _MAX_RUNS else []
    return ", ".join([*named, *more]) if len(runs) > 1 else ""


def _warnings(incident: Incident) -> Iterator[Sentence]:
    if incident.failure.was_edited_since:
        yield sentences.EDITED_SINCE
    if incident.failure.newer_run == "green":
        yield sentences.NEWER_GREEN
    if incident.failure.newer_run == "active":
        yield sentences.NEWER_ACTIVE


def shown_parameters(parameters: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in list(parameters.items())[:_MAX_PARAMETERS]:
        # Redacted as the pair that it is, since only the name may say that the value is a secret.
        shown_name, _, shown = clean_line(f"{name}={value}", 2 * _NAME).partition("=")
        yield shown_name, shown or "–"
