"""What a press on the card of an incident may do, and what it makes of the incident. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from app.jobs.chat import decision_sentences as sentences
from app.jobs.chat.incident_buttons import (
    ASSIGNED_TO,
    DECIDABLE,
    DEFAULT_HOURS,
    HOURS_TO_SNOOZE,
    MAX_PARAMETER_INPUTS,
    NOTE,
    PARAMETER_INPUT,
    SNOOZE_HOURS,
    decision_id,
)
from app.jobs.clean_text import clean_line
from app.jobs.decisions.parameter_rules import allowed_parameters, changeable_parameters
from app.jobs.incidents.incident import Incident, IncidentState, NoticeKind, PendingNotice
from app.jobs.incidents.incident_facts import time_text
from app.jobs.job_policy import JobPolicy, Person
from app.messaging import job_messages as verbs
from app.translation import Sentence

MAX_WRONG_DIAGNOSES: Final = 50
DECISIONS: Final = {verbs.APPROVE_RETRY, verbs.CHANGE_RETRY, verbs.ESCALATE, verbs.SKIP}
NOTICES: Final[Mapping[str, NoticeKind]] = {
    verbs.APPROVE_RETRY: "decided",
    verbs.CHANGE_RETRY: "decided",
    verbs.ESCALATE: "escalated",
    verbs.SKIP: "decided",
}
"""What happened to the incident by a verb; by all others it is `changed`."""

_WITHOUT_PROPOSAL: Final = {verbs.ESCALATE, verbs.SKIP}
_FOR_EVERYBODY: Final = {verbs.WRONG_DIAGNOSIS}
_NOTE_CHARACTERS = 300
_NAME_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Press:
    """`id` is the idempotency key: for a decision, the id of what is decided. `data` may be anything. `grace_seconds`
    is how long ago it may have been pressed and accepted.
    """

    id: str
    verb: str
    by: Person
    at_seconds: float
    data: Mapping[str, str]
    grace_seconds: float = 0.0


class NotAllowedError(Exception):
    """The press changes nothing; `sentence` with its `values` says why."""

    def __init__(self, sentence: Sentence, **values: object) -> None:
        super().__init__(sentence.english)
        self.sentence = sentence
        self.values = values


def decide(incident: Incident, policy: JobPolicy, press: Press, notice_id: str) -> Incident:
    """The incident after the press. Raises `NotAllowedError`."""
    _check_person(policy, press)
    if press.verb in DECISIONS:
        _check_is_open(incident, press)
    if press.verb == verbs.CHANGE_RETRY:
        incident = _with_parameters(incident, policy, press)
    changed = _CHANGES[press.verb](incident, press)
    if press.verb in DECISIONS:
        changed = changed.model_copy(update={"decided_by": press.by})
    pending = PendingNotice(id=notice_id, kind=NOTICES.get(press.verb, "changed"), at_seconds=press.at_seconds)
    update = {"notices": (*changed.notices, pending), "changed_at_seconds": press.at_seconds}
    return changed.model_copy(update=update)


def _with_parameters(incident: Incident, policy: JobPolicy, press: Press) -> Incident:
    proposal, declared = incident.proposal, changeable_parameters(incident.failure)
    inputs = [(rule.name, f"{PARAMETER_INPUT}{n}") for n, rule in enumerate(policy.parameters[:MAX_PARAMETER_INPUTS])]
    if proposal is None or not any(field in press.data for _, field in inputs):
        # Some clients leave all inputs out: https://github.com/MicrosoftDocs/msteams-docs/issues/9291
        raise NotAllowedError(sentences.NOTHING_ENTERED)
    # And some leave out those that were not touched: https://github.com/MicrosoftDocs/msteams-docs/issues/4242
    entered = {name: press.data.get(field, "").strip() or proposal.parameters.get(name, "") for name, field in inputs}
    changed = {name: value for name, value in entered.items() if value and value != declared.get(name)}
    allowed, problems = allowed_parameters(changed, declared, policy.parameters)
    if problems:
        raise NotAllowedError(sentences.NOT_ALLOWED_VALUES, problems=" ".join(problems))
    if not allowed:
        raise NotAllowedError(sentences.NOTHING_CHANGED)
    update = {"action": "RETRY_WITH_PARAMS", "parameters": dict(allowed)}
    return incident.model_copy(update={"proposal": proposal.model_copy(update=update)})


def _check_person(policy: JobPolicy, press: Press) -> None:
    if not press.by.tenant_id or not press.by.entra_object_id:
        raise NotAllowedError(sentences.UNKNOWN_PERSON)
    if press.verb in _FOR_EVERYBODY:
        return
    if not policy.approvers:
        raise NotAllowedError(sentences.NO_APPROVERS)
    if not any(each.is_same(press.by.tenant_id, press.by.entra_object_id) for each in policy.approvers):
        names = ", ".join(filter(None, (clean_line(each.name, _NAME_CHARACTERS) for each in policy.approvers)))
        raise NotAllowedError(sentences.ASK_AN_APPROVER, names=names) if names else NotAllowedError(sentences.NO)


def _check_is_open(incident: Incident, press: Press) -> None:
    proposal = incident.proposal
    if proposal is not None and proposal.id == press.id:
        expires_at = proposal.expires_at_seconds
        is_over = press.at_seconds - press.grace_seconds >= expires_at
        if incident.state is IncidentState.PROPOSED and not is_over:
            return
        if incident.decided_by is None and is_over:
            raise NotAllowedError(sentences.EXPIRED, time=time_text(expires_at))
    elif incident.state in DECIDABLE and press.verb in _WITHOUT_PROPOSAL and press.id == decision_id(incident):
        return
    if incident.state is IncidentState.RECOVERED:
        raise NotAllowedError(sentences.RECOVERED)
    if incident.decided_by is not None:
        name = clean_line(incident.decided_by.name, _NAME_CHARACTERS)
        raise NotAllowedError(sentences.DECIDED, name=name) if name else NotAllowedError(sentences.DECIDED_BY_OTHER)
    raise NotAllowedError(sentences.NOT_WAITING)


def _check_is_not_closed(incident: Incident) -> None:
    if incident.state.is_closed:
        raise NotAllowedError(sentences.CLOSED)


def _approve(incident: Incident, press: Press) -> Incident:
    return incident.model_copy(update={"state": IncidentState.APPROVED})


def _escalate(incident: Incident, press: Press) -> Incident:
    return incident.model_copy(update={"state": IncidentState.ESCALATED})


def _skip(incident: Incident, press: Press) -> Incident:
    return incident.model_copy(update={"state": IncidentState.SKIPPED})


def _snooze(incident: Incident, press: Press) -> Incident:
    _check_is_not_closed(incident)
    hours = press.data.get(SNOOZE_HOURS, str(DEFAULT_HOURS))
    if hours not in {str(each) for each in HOURS_TO_SNOOZE}:
        raise NotAllowedError(sentences.FOR_HOW_LONG)
    return incident.model_copy(update={"snoozed_until_seconds": press.at_seconds + int(hours) * 3600.0})


def _acknowledge(incident: Incident, press: Press) -> Incident:
    _check_is_not_closed(incident)
    assigned_to = clean_line(press.data.get(ASSIGNED_TO, ""), _NAME_CHARACTERS)
    note = clean_line(press.data.get(NOTE, ""), _NOTE_CHARACTERS)
    return incident.model_copy(update={"acknowledged_by": press.by, "assigned_to": assigned_to, "note": note})


def _call_wrong(incident: Incident, press: Press) -> Incident:
    people = incident.wrong_diagnosis_by
    if any(each.is_same(press.by.tenant_id, press.by.entra_object_id) for each in people):
        raise NotAllowedError(sentences.SAID_ALREADY)
    if len(people) >= MAX_WRONG_DIAGNOSES:
        raise NotAllowedError(sentences.SAID_ENOUGH)
    return incident.model_copy(update={"wrong_diagnosis_by": (*people, press.by)})


_CHANGES: Final[Mapping[str, Callable[[Incident, Press], Incident]]] = {
    verbs.APPROVE_RETRY: _approve,
    verbs.CHANGE_RETRY: _approve,
    verbs.ESCALATE: _escalate,
    verbs.SKIP: _skip,
    verbs.SNOOZE: _snooze,
    verbs.ACKNOWLEDGE: _acknowledge,
    verbs.WRONG_DIAGNOSIS: _call_wrong,
}
