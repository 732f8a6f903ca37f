"""The buttons and forms on the card of an incident, for what may be decided about it now. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from app.content.blocks import Action, Actions, ActionStyle, Block, Choice, Form, Forms, Input
from app.jobs.clean_text import clean_line
from app.jobs.incidents import incident_sentences as sentences
from app.jobs.incidents.incident import Incident, IncidentState, Proposal
from app.jobs.job_policy import JobPolicy, ParameterRule
from app.messaging import job_messages as verbs
from app.messaging.job_messages import INCIDENT
from app.translation import Translator

PARAMETER_INPUT: Final = "parameter_"
"""With the number of the rule in the policy: the name of an input of the form that changes parameters."""
SNOOZE_HOURS: Final = "hours"
ASSIGNED_TO: Final = "assigned_to"
NOTE: Final = "note"
HOURS_TO_SNOOZE: Final = (1, 4, 24)
DEFAULT_HOURS: Final = 4
MAX_PARAMETER_INPUTS: Final = 8

DECIDABLE: Final = {
    IncidentState.OPEN,
    IncidentState.PROPOSED,
    IncidentState.DELAYED,
    IncidentState.ESCALATED,
}

_NAME = 100
_SENTENCE = 300


def incident_buttons(incident: Incident, policy: JobPolicy, translate: Translator) -> Iterator[Block]:
    """With the ids of the incident and of what is decided, and nothing else."""
    data = {INCIDENT: incident.id}
    proposal, decision_id = _decision_of(incident)
    decisions = []
    if proposal is not None:
        decisions.append(Action(verbs.APPROVE_RETRY, translate(sentences.APPROVE), data, ActionStyle.POSITIVE))
    if incident.state in DECIDABLE:
        if incident.state is not IncidentState.ESCALATED:
            decisions.append(Action(verbs.ESCALATE, translate(sentences.ESCALATE), data))
        decisions.append(Action(verbs.SKIP, translate(sentences.SKIP), data))
    if decisions:
        yield Actions(tuple(decisions), decision_id)
    if not incident.state.is_closed:
        yield Forms(tuple(_forms(incident, policy, proposal, translate)))
    if incident.kind == "failure":
        yield Actions((Action(verbs.WRONG_DIAGNOSIS, translate(sentences.WRONG_DIAGNOSIS), data),))


def _decision_of(incident: Incident) -> tuple[Proposal | None, str]:
    """The proposal that waits, and what names the decision: the same on every card that shows it."""
    if incident.state is IncidentState.PROPOSED and incident.proposal is not None:
        return incident.proposal, incident.proposal.id
    return None, decision_id(incident)


def decision_id(incident: Incident) -> str:
    """Of what may be decided about an incident without a proposal: another one where it is in this state again."""
    last = incident.proposal.id if incident.proposal is not None else ""
    return f"{incident.id}/{incident.state}/{last}/{len(incident.retries)}"


def _forms(incident: Incident, policy: JobPolicy, proposal: Proposal | None, translate: Translator) -> Iterator[Form]:
    data = {INCIDENT: incident.id}
    inputs = tuple(_parameter_inputs(incident, policy, proposal, translate)) if proposal is not None else ()
    if proposal is not None and proposal.action != "CANCEL" and inputs:
        send = Action(verbs.CHANGE_RETRY, translate(sentences.RETRY_WITH_THESE), data, ActionStyle.POSITIVE)
        yield Form(translate(sentences.CHANGE_PARAMETERS), inputs, send, proposal.id)
    if incident.state in DECIDABLE:
        choices = tuple(Choice(str(hours), translate(sentences.HOURS, count=hours)) for hours in HOURS_TO_SNOOZE)
        hours = Input(SNOOZE_HOURS, translate(sentences.SNOOZE_FOR), str(DEFAULT_HOURS), choices)
        yield Form(translate(sentences.SNOOZE), (hours,), Action(verbs.SNOOZE, translate(sentences.SNOOZE_NOW), data))
    yield Form(
        translate(sentences.ACKNOWLEDGE),
        (
            Input(ASSIGNED_TO, translate(sentences.ASSIGN_TO), clean_line(incident.assigned_to, _NAME)),
            Input(NOTE, translate(sentences.NOTE), clean_line(incident.note, _SENTENCE)),
        ),
        Action(verbs.ACKNOWLEDGE, translate(sentences.TAKE_IT), data),
    )


def _parameter_inputs(
    incident: Incident, policy: JobPolicy, proposal: Proposal, translate: Translator
) -> Iterator[Input]:
    for number, rule in enumerate(policy.parameters[:MAX_PARAMETER_INPUTS]):
        value = proposal.parameters.get(rule.name, incident.failure.parameters.get(rule.name, ""))
        choices = ("true", "false") if rule.type == "boolean" else rule.choices
        yield Input(
            f"{PARAMETER_INPUT}{number}",
            _parameter_label(rule, translate),
            clean_line(value, _NAME),
            tuple(Choice(choice, choice) for choice in choices),
        )


def _parameter_label(rule: ParameterRule, translate: Translator) -> str:
    bounds = [
        translate(sentence, value=f"{bound:g}")
        for sentence, bound in ((sentences.AT_LEAST, rule.minimum), (sentences.AT_MOST, rule.maximum))
        if bound is not None
    ]
    return f"{clean_line(rule.name, _NAME)} ({', '.join(bounds)})" if bounds else clean_line(rule.name, _NAME)
