"""What the tools about jobs tell the model and show people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.jobs.clean_text import clean_block, clean_line
from app.jobs.history.decision_record import DecisionRecord
from app.jobs.incidents.incident import Incident
from app.jobs.job_policy import JobPolicy
from app.tools.base import ToolContext
from app.translation import Sentence

if TYPE_CHECKING:
    from app.content.blocks import Block

_NAME = 100
_LINE = 300
_TRACE = 3_000
_MAX_TASKS = 4
_MAX_PARAMETERS = 30


def line_of(record: DecisionRecord) -> str:
    parts = [
        f"{clean_line(record.job_name, _NAME)} (job {record.job_id}, run {record.run_id})",
        record.at,
        clean_line(record.cause or record.error, _LINE),
        clean_line(record.action, _NAME),
        f"outcome: {record.outcome}" if record.outcome else "",
    ]
    return "- " + "; ".join(filter(None, parts))


def lateness_line(incident: Incident) -> str:
    what = incident.kind.replace("_", " ")
    return f"- {clean_line(incident.job_name, _NAME)} (job {incident.job_id}); {what}; {incident.state}"


def table_of(records: Sequence[DecisionRecord], context: ToolContext) -> Block:
    from app.content.blocks import Column, ColumnType, Table  # noqa: PLC0415

    translate = context.translate
    columns = (
        Column(translate(Sentence("Job"))),
        Column(translate(Sentence("Run")), ColumnType.NUMBER, plain=True),
        Column(translate(Sentence("Cause"))),
        Column(translate(Sentence("Done"))),
        Column(translate(Sentence("Outcome"))),
    )
    rows = tuple(
        (
            clean_line(record.job_name, _NAME),
            record.run_id,
            clean_line(record.cause or record.error, _LINE),
            clean_line(record.action.replace("_", " "), _NAME),
            record.outcome or "–",
        )
        for record in records
    )
    return Table(columns, rows)


def evidence_text(incident: Incident, policy: JobPolicy) -> str:
    """For the model."""
    failure, decision = incident.failure, incident.decision
    lines = [
        f"Job: {clean_line(incident.job_name, _NAME)} (id {incident.job_id})",
        f"State of the incident: {incident.state}, {incident.run_count} failed runs",
        f"Run: {failure.run_id}, trigger {clean_line(failure.trigger, _NAME)}",
        f"Newer run: {failure.newer_run or 'none'}",
        f"Cause: {clean_line(decision.cause, _LINE)}",
        f"Decision: {decision.action}, by {decision.source}: {clean_line(decision.reason, _LINE)}",
    ]
    lines += [
        f"Hypothesis: {clean_line(each.text, _LINE)} (evidence: {clean_line(each.evidence, _LINE)})"
        for each in decision.hypotheses[:_MAX_TASKS]
    ]
    for task in failure.tasks[:_MAX_TASKS]:
        codes = clean_line(f"{task.termination_code} {task.cluster.code if task.cluster else ''}", _NAME)
        lines += [f"Task {clean_line(task.task_key, _NAME)} failed ({codes}):", clean_block(task.error, _TRACE)]
        lines += [clean_block(task.trace, _TRACE)] if task.trace else []
    if parameters := dict(list(failure.parameters.items())[:_MAX_PARAMETERS]):
        pairs = (clean_line(f"{name}={value}", 2 * _NAME) for name, value in parameters.items())
        lines.append(f"Parameters of the run: {', '.join(pairs)}")
    changeable = [
        clean_line(f"{rule.name} ({rule.type}, {rule.minimum} to {rule.maximum} {' '.join(rule.choices)})", _LINE)
        for rule in policy.parameters
    ]
    lines.append(f"Parameters that a retry may change: {'; '.join(changeable) or 'none'}")
    for retry in incident.retries:
        changed = ", ".join(clean_line(f"{name}={value}", _NAME) for name, value in retry.parameters.items())
        lines.append(f"Retry ({changed or 'as it was'}): {retry.outcome or 'still running'}")
    return "\n".join(filter(None, lines))
