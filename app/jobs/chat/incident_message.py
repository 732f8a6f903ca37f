"""The message about an incident, and what its thread is told. Pure. All that comes from outside is bounded, without
secrets, and stands where it cannot be read as Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from app.content.blocks import (
    Block,
    Code,
    Fact,
    Facts,
    Folded,
    FoldedBlock,
)
from app.content.data_text import as_data
from app.jobs.chat import incident_sentences as sentences
from app.jobs.chat.incident_buttons import incident_buttons
from app.jobs.decisions.decision import DecisionAction
from app.jobs.incidents.incident import Incident, IncidentState, NoticeKind
from app.jobs.job_policy import JobPolicy
from app.jobs.mail.mail_content import clean_block, clean_line, clean_url
from app.jobs.runs.run_failure import TaskFailure
from app.translation import Sentence, Translator

_NAME = 100
_SENTENCE = 300
_ERROR = 1_500
_MAX_TASKS_SHOWN = 2
_MAX_HYPOTHESES = 3
_MAX_PARAMETERS = 10
_MAX_RUNS = 5

_STATES: Final = {
    IncidentState.OPEN: Sentence("Open"),
    IncidentState.PROPOSED: Sentence("Waits for a decision"),
    IncidentState.DELAYED: Sentence("Is retried automatically"),
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
_HEADLINES: Final = {
    "failure": sentences.FAILED,
    "late": sentences.LATE,
    "never_started": sentences.NEVER_STARTED,
    "too_long": sentences.TOO_LONG,
}


def headline(incident: Incident, translate: Translator) -> str:
    """In Markdown: what happened to which job, and why, with a link to the run."""
    job = as_data(job_name(incident))
    others = len(incident.job_ids) - 1
    said = f"**{translate(_HEADLINES[incident.kind], job=job)}**"
    if incident.state is IncidentState.RECOVERED:
        said = f"**{translate(sentences.HAS_RECOVERED, job=job)}**"
    if others > 0:
        said += f" {translate(sentences.MORE_JOBS, count=others)}"
    if cause := cause_of(incident):
        said += f" {as_data(cause)}"
    if url := clean_url(incident.failure.url):
        said += f"\n\n[{translate(sentences.OPEN_RUN)}]({link_url(url)})"
    return said


def incident_blocks(incident: Incident, policy: JobPolicy, translate: Translator) -> tuple[Block, ...]:
    """What the card of the incident shows now, and the buttons for what may be decided now."""
    blocks: list[Block] = [Facts(tuple(facts_of(incident, translate)), job_name(incident))]
    if details := tuple(_evidence(incident, translate)):
        blocks.append(Folded(translate(sentences.EVIDENCE), details))
    return (*blocks, *incident_buttons(incident, policy, translate))


def said_of(kind: NoticeKind, incident: Incident, text: str, translate: Translator, *, by_press: bool = False) -> str:
    """What the thread is told, in Markdown; empty where the card alone changes. `by_press`: a person caused it."""
    who = as_data(_person(incident)) or translate(sentences.SOMEBODY)
    match kind:
        case "repeated":
            said = translate(sentences.REPEATED, count=incident.run_count)
        case "proposed":
            said = translate(sentences.PROPOSED, action=as_data(action_text(incident, translate)))
        case "decided" if incident.state is IncidentState.SKIPPED:
            said = translate(sentences.SKIPPED_BY, name=who)
        case "decided":
            said = translate(sentences.APPROVED_BY, name=who, action=as_data(action_text(incident, translate)))
        case "retry_started" if incident.decided_by is None:
            # After an approval it is the same news, and messages of a queue may overtake each other.
            said = translate(sentences.RETRY_STARTED)
        case "retry_refused":
            is_cancel = incident.proposal is not None and incident.proposal.action == "CANCEL"
            said = translate(sentences.CANCEL_REFUSED if is_cancel else sentences.RETRY_REFUSED)
        case "retry_failed":
            said = translate(sentences.RETRY_FAILED)
        case "recovered":
            said = translate(sentences.HAS_RECOVERED, job=f"**{as_data(job_name(incident))}**")
        case "escalated" if by_press:
            said = translate(sentences.ESCALATED_BY, name=who)
        case "escalated":
            said = translate(sentences.ESCALATED)
        case "expired":
            said = translate(sentences.EXPIRED)
        case _:
            said = ""
    return "\n\n".join(filter(None, (said, as_data(clean_line(text, 2 * _SENTENCE)))))


def link_url(url: str) -> str:
    """As it stands in a link of Markdown."""
    return url.replace("(", "%28").replace(")", "%29").replace("[", "%5B").replace("]", "%5D")


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
    before = dict(_pairs(incident.failure.parameters))
    changes = [
        f"{name}: {before[name]} → {value}" if name in before else f"{name} = {value}"
        for name, value in _pairs(proposal.parameters)
    ]
    if proposal.performance_target:
        changes.append(f"performance_target = {clean_line(proposal.performance_target, _NAME)}")
    return f"{said}: {', '.join(changes)}" if changes else said


def time_text(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC" if seconds > 0 else ""
    except (ValueError, OverflowError, OSError):
        return ""


def _person(incident: Incident) -> str:
    return clean_line(incident.decided_by.name, _NAME) if incident.decided_by is not None else ""


def facts_of(incident: Incident, translate: Translator) -> Iterator[Fact]:
    """Where it stands, in plain text; only what there is."""
    failure, proposal = incident.failure, incident.proposal
    tasks = ", ".join(clean_line(task.task_key, _NAME) for task in failure.tasks[:5])
    acknowledged = incident.acknowledged_by
    rows: Iterable[tuple[Sentence, str]] = (
        (sentences.STATE, state_of(incident, translate)),
        (sentences.DECIDED_BY, _person(incident)),
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


def _evidence(incident: Incident, translate: Translator) -> Iterator[FoldedBlock]:
    for task in incident.failure.tasks[:_MAX_TASKS_SHOWN]:
        if shown := clean_block(task.error or task.message, _ERROR):
            yield Code(shown, title=_task_title(task))
    hypotheses = tuple(
        Fact(f"{number}", clean_line(f"{each.text} ({each.evidence})", _SENTENCE))
        for number, each in enumerate(incident.decision.hypotheses[:_MAX_HYPOTHESES], 1)
    )
    if hypotheses:
        yield Facts(hypotheses, translate(sentences.HYPOTHESES))
    if parameters := tuple(Fact(name, value) for name, value in _pairs(incident.failure.parameters)):
        yield Facts(parameters, translate(sentences.PARAMETERS))


def _task_title(task: TaskFailure) -> str:
    codes = [task.termination_code, task.cluster.code if task.cluster is not None else ""]
    return ": ".join(
        filter(None, (clean_line(task.task_key, _NAME), clean_line(", ".join(filter(None, codes)), _NAME)))
    )


def _pairs(parameters: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in list(parameters.items())[:_MAX_PARAMETERS]:
        # Redacted as the pair that it is, since only the name may say that the value is a secret.
        shown_name, _, shown = clean_line(f"{name}={value}", 2 * _NAME).partition("=")
        yield shown_name, shown or "–"
