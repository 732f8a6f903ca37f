"""The mail about one incident: what failed, why, and what was decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from app.jobs.clean_text import clean_block, clean_line, clean_url
from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.mail.mail_content import MAX_SUBJECT_CHARACTERS, MailContent, MailLink, MailSection, facts
from app.jobs.runs.run_failure import RunFailure, TaskFailure

# All of it, escaped, fits into one document of the store.
_MAX_RUNS = 10
_MAX_TASKS = 5
_MAX_PARAMETERS = 10
_MAX_HYPOTHESES = 3
_NAME = 100
_SENTENCE = 300
_ERROR = 1_000

_DECIDED: Final = {
    DecisionAction.RETRY: "Retry unchanged",
    DecisionAction.RETRY_WITH_PARAMS: "Retry with changed parameters",
    DecisionAction.ESCALATE_EMAIL: "Needs someone to look into it",
    DecisionAction.SKIP: "No action needed",
}
_DECIDED_BY: Final = {
    "model": "a model, from the error",
    "prior": "rules, from the termination code",
    "guard rail": "a limit that is set for automatic actions",
}
_NEWER_RUN: Final = {
    "green": "A newer run of the job has succeeded.",
    "active": "A newer run of the job is active.",
    "failed": "A newer run of the job has failed too.",
}


def incident_mail(runs: Sequence[RunFailure], decision: Decision) -> MailContent:
    """Of at least one run; the first stands for all, which failed for the same cause."""
    first = runs[0]
    cause = clean_line(decision.cause, _SENTENCE)
    jobs = len({(run.workspace, run.job_id) for run in runs})
    others = f" and {jobs - 1} more job{'s' if jobs > 2 else ''}" if jobs > 1 else ""
    headline = f"{clean_line(first.job_name, _NAME) or f'Job {first.job_id}'}{others} failed"
    sections = [
        MailSection(
            title=headline,
            paragraphs=(cause,) if cause else (),
            facts=_facts_of_run(first),
            links=_links([first]),
        ),
        _decision_section(decision),
        *(_task_section(task) for task in first.tasks[:_MAX_TASKS]),
    ]
    if len(first.tasks) > _MAX_TASKS:
        sections.append(MailSection(paragraphs=(f"{len(first.tasks) - _MAX_TASKS} more tasks failed.",)))
    if first.parameters:
        sections.append(MailSection(title="Run parameters", facts=_parameters(first.parameters)))
    if len(runs) > 1:
        more = (f"{len(runs) - 1 - _MAX_RUNS} more are not listed.",) if len(runs) - 1 > _MAX_RUNS else ()
        sections.append(
            MailSection(title="Runs that failed with it", links=_links(runs[1 : 1 + _MAX_RUNS]), paragraphs=more)
        )
    subject = clean_line(f"{headline}: {cause}" if cause else headline, MAX_SUBJECT_CHARACTERS)
    return MailContent(subject=subject, sections=tuple(sections))


def _facts_of_run(run: RunFailure) -> tuple[tuple[str, str], ...]:
    return facts(
        [
            ("Workspace", clean_line(run.workspace, _NAME)),
            ("Job", f"{run.job_id}"),
            ("Run", f"{run.run_id}"),
            ("Started", _time(run.started_at_seconds)),
            ("Ended", _time(run.ended_at_seconds)),
            ("Termination code", clean_line(run.termination_code, _NAME)),
            ("Trigger", clean_line(run.trigger, _NAME)),
            ("Repairs so far", str(len(run.repair_ids)) if run.repair_ids else ""),
            ("Note", "The job was edited after this run began." if run.was_edited_since else ""),
            ("Since then", _NEWER_RUN.get(run.newer_run, "")),
        ]
    )


def _decision_section(decision: Decision) -> MailSection:
    hypotheses = (
        f"{clean_line(each.text, _SENTENCE)} ({clean_line(each.evidence, _SENTENCE)})"
        for each in decision.hypotheses[:_MAX_HYPOTHESES]
    )
    rows = [
        ("Decision", _DECIDED[decision.action]),
        ("Why", clean_line(decision.reason, _SENTENCE)),
        ("Decided by", _DECIDED_BY[decision.source]),
        ("Confidence", f"{decision.confidence:.0%}" if decision.source == "model" else ""),
        *((f"With {name}", value) for name, value in _parameters(decision.suggested_params)),
    ]
    return MailSection(title="What was decided", facts=facts(rows), links=tuple(MailLink(label=h) for h in hypotheses))


def _task_section(task: TaskFailure) -> MailSection:
    cluster = task.cluster
    return MailSection(
        title=f"Task {clean_line(task.task_key, _NAME)}",
        facts=facts(
            [
                ("Termination code", clean_line(task.termination_code, _NAME)),
                ("Type", clean_line(task.termination_type, _NAME)),
                ("Attempts", str(task.attempt_number + 1) if task.attempt_number else ""),
                ("Cluster", clean_line(f"{cluster.code} ({cluster.type})", _NAME) if cluster is not None else ""),
                ("Message", clean_line(task.message, _SENTENCE)),
            ]
        ),
        code=clean_block(task.error, _ERROR),
    )


def _links(runs: Sequence[RunFailure]) -> tuple[MailLink, ...]:
    return tuple(
        MailLink(
            label=f"{clean_line(run.job_name, _NAME) or f'Job {run.job_id}'}, run {run.run_id}", url=clean_url(run.url)
        )
        for run in runs
    )


def _parameters(parameters: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    # Redacted as the pair that it is, since only the name may say that the value is a secret.
    pairs = (clean_line(f"{name}={value}", 2 * _NAME) for name, value in islice(parameters.items(), _MAX_PARAMETERS))
    return tuple((name, value or "(empty)") for name, _, value in (pair.partition("=") for pair in pairs))


def _time(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC" if seconds > 0 else ""
    except (ValueError, OverflowError, OSError):
        return ""
