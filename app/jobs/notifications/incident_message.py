"""What everybody outside the chats is told of an incident, before it has the form of one of them. Pure. Everything in
it is plain text, bounded, and without secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel, ConfigDict

from app.jobs.clean_text import clean_block, clean_line, clean_url
from app.jobs.incidents import incident_sentences as sentences
from app.jobs.incidents.incident import Incident, IncidentKind, IncidentState, NoticeKind
from app.jobs.incidents.incident_facts import action_text, cause_of, facts_of, job_name
from app.jobs.notifications.notifier import Notice
from app.translation import ENGLISH

_NAME = 100
_SENTENCE = 300
_TEXT = 600
_ERROR = 1_000
_MAX_LINKS = 5
_HEADLINES: Final = {
    "failure": sentences.FAILED,
    "late": sentences.LATE,
    "never_started": sentences.NEVER_STARTED,
    "too_long": sentences.TOO_LONG,
}
_RETRIED: Final = {IncidentState.DELAYED, IncidentState.APPROVED, IncidentState.RETRYING}


class IncidentMessage(BaseModel):
    """`outcome` is what happened now, in sentences. `facts` are names and values, `links` labels and addresses.
    `needs_person`: it is open, and no retry is under way. `at_seconds` is since 1970.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    notice_id: str
    kind: NoticeKind
    at_seconds: float
    incident_id: str
    incident_kind: IncidentKind
    state: IncidentState
    needs_person: bool
    is_acknowledged: bool
    workspace: str
    job_id: int
    job_name: str
    run_id: int
    run_count: int
    title: str
    outcome: str
    cause: str
    reason: str
    action: str
    error: str
    facts: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


def incident_message(notice: Notice) -> IncidentMessage:
    incident = notice.incident
    return IncidentMessage(
        notice_id=notice.id,
        kind=notice.kind,
        at_seconds=notice.at_seconds,
        incident_id=incident.id,
        incident_kind=incident.kind,
        state=incident.state,
        needs_person=not incident.state.is_closed and incident.state not in _RETRIED,
        is_acknowledged=incident.acknowledged_by is not None,
        workspace=clean_line(incident.workspace, _NAME),
        job_id=incident.job_id,
        job_name=job_name(incident),
        run_id=incident.failure.run_id,
        run_count=incident.run_count,
        title=_title(incident),
        outcome=" ".join(filter(None, (_outcome(notice), clean_line(notice.text, _TEXT)))),
        cause=cause_of(incident),
        reason=clean_line(incident.decision.reason, _SENTENCE),
        action=action_text(incident, ENGLISH),
        error=clean_block(next((task.error or task.message for task in incident.failure.tasks), ""), _ERROR),
        facts=tuple((fact.label, fact.value) for fact in facts_of(incident, ENGLISH)),
        links=tuple(_links(incident)),
    )


def _title(incident: Incident) -> str:
    headline = _HEADLINES[incident.kind]
    if incident.state is IncidentState.RECOVERED:
        headline = sentences.HAS_RECOVERED
    said = ENGLISH(headline, job=job_name(incident))
    others = len(incident.job_ids) - 1
    return f"{said} {ENGLISH(sentences.MORE_JOBS, count=others)}" if others else said


def _outcome(notice: Notice) -> str:
    incident = notice.incident
    person = incident.decided_by
    who = (clean_line(person.name, _NAME) if person is not None else "") or ENGLISH(sentences.SOMEBODY)
    match notice.kind:
        case "repeated":
            return ENGLISH(sentences.REPEATED, count=incident.run_count)
        case "proposed":
            return f"Waiting for approval: {action_text(incident, ENGLISH)}."
        case "decided" if incident.state is IncidentState.SKIPPED:
            return ENGLISH(sentences.SKIPPED_BY, name=who)
        case "decided":
            return ENGLISH(sentences.APPROVED_BY, name=who, action=action_text(incident, ENGLISH))
        case "retry_started":
            return "The retry has started."
        case "retry_refused":
            return ENGLISH(sentences.RETRY_REFUSED)
        case "retry_failed":
            return ENGLISH(sentences.RETRY_FAILED)
        case "escalated" if person is not None:
            return ENGLISH(sentences.ESCALATED_BY, name=who)
        case "escalated":
            return "It needs someone to look into it."
        case "expired":
            return ENGLISH(sentences.EXPIRED)
        case "opened" | "changed" | "recovered":
            return ""


def _links(incident: Incident) -> Iterator[tuple[str, str]]:
    first = incident.failure
    runs = {clean_url(first.url): f"Run {first.run_id} of {job_name(incident)}"}
    for run in reversed(incident.runs):
        name = clean_line(run.job_name, _NAME) or f"Job {run.job_id}"
        runs.setdefault(clean_url(run.url), f"Run {run.run_id} of {name}")
    runs.pop("", None)
    for url, label in list(runs.items())[:_MAX_LINKS]:
        yield label, url
