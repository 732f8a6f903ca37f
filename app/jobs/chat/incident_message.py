"""The message about an incident, and what its thread is told. Pure. All that comes from outside is bounded, without
secrets, and stands where it cannot be read as Markdown.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from app.jobs.chat.incident_buttons import incident_buttons
from app.jobs.clean_text import clean_block, clean_line, clean_url
from app.jobs.incidents import incident_sentences as sentences
from app.jobs.incidents.incident import Incident, IncidentState, NoticeKind
from app.jobs.incidents.incident_facts import (
    action_text,
    cause_of,
    decided_by_name,
    facts_of,
    job_name,
    shown_parameters,
)
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.run_failure import TaskFailure
from app.translation import Translator

_NAME = 100
_SENTENCE = 300
_ERROR = 1_500
_MAX_TASKS_SHOWN = 2
_MAX_HYPOTHESES = 3

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
    who = as_data(decided_by_name(incident)) or translate(sentences.SOMEBODY)
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
    if parameters := tuple(Fact(name, value) for name, value in shown_parameters(incident.failure.parameters)):
        yield Facts(parameters, translate(sentences.PARAMETERS))


def _task_title(task: TaskFailure) -> str:
    codes = [task.termination_code, task.cluster.code if task.cluster is not None else ""]
    return ": ".join(
        filter(None, (clean_line(task.task_key, _NAME), clean_line(", ".join(filter(None, codes)), _NAME)))
    )
