"""Incidents and their statistics as the page shows them. Pure; what comes from outside is bounded, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from agent_server.handlers.handler import JsonObject
from app.content.block_json import blocks_for_programs
from app.content.blocks import (
    Action,
    Actions,
    Block,
    Chart,
    ChartKind,
    Column,
    ColumnType,
    Forms,
    Point,
    Series,
    Table,
)
from app.jobs.chat.incident_message import incident_blocks
from app.jobs.clean_text import clean_line, clean_url
from app.jobs.decisions.decision import DecisionAction
from app.jobs.history.history_statistics import DecisionStatistics, HistoryStatistics
from app.jobs.incidents.incident import Incident, IncidentState
from app.jobs.incidents.incident_facts import action_text, cause_of, decided_by_name, job_name, state_of
from app.jobs.job_policy import JobPolicy
from app.messaging.job_messages import WRONG_DIAGNOSIS
from app.translation import ENGLISH

_NAME = 100
_MAX_RETRIES = 20
_HEADLINES: Final = {
    "failure": "failed",
    "late": "is late",
    "never_started": "has not started",
    "too_long": "has been running too long",
}
_DECISIONS: Final = {
    DecisionAction.RETRY.value: "Retry",
    DecisionAction.RETRY_WITH_PARAMS.value: "Retry with parameters",
    DecisionAction.ESCALATE_EMAIL.value: "Escalate",
    DecisionAction.SKIP.value: "Skip",
}


def incident_json(incident: Incident, policy: JobPolicy, *, may_decide: bool) -> JsonObject:
    blocks = incident_blocks(incident, policy, ENGLISH)
    return {
        "id": incident.id,
        "job": job_name(incident),
        "job_id": str(incident.job_id),
        "happened": "has recovered" if incident.state is IncidentState.RECOVERED else _HEADLINES[incident.kind],
        "state": incident.state.value,
        "state_text": state_of(incident, ENGLISH),
        "is_closed": incident.state.is_closed,
        "waits_for_decision": incident.state is IncidentState.PROPOSED,
        "cause": cause_of(incident),
        "proposed": action_text(incident, ENGLISH),
        "decided_by": decided_by_name(incident),
        "run_url": clean_url(incident.failure.url),
        "run_count": incident.run_count,
        "opened_at": incident.opened_at_seconds,
        "changed_at": incident.changed_at_seconds,
        "retries": [
            {
                "outcome": retry.outcome or "running",
                "started_at": retry.started_at_seconds,
                "ended_at": retry.ended_at_seconds,
                "approved_by": clean_line(retry.approved_by, _NAME),
                "by_us": retry.by_us,
            }
            for retry in incident.retries[-_MAX_RETRIES:]
        ],
        "blocks": blocks_for_programs(tuple(blocks if may_decide else _without_decisions(blocks))),
    }


def _without_decisions(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Actions):
            yield from _only(block, WRONG_DIAGNOSIS)
        elif not isinstance(block, Forms):
            yield block


def _only(block: Actions, verb: str) -> Iterator[Actions]:
    kept: tuple[Action, ...] = tuple(each for each in block.actions if each.verb == verb)
    if kept:
        yield Actions(kept, block.id)


def summary_json(statistics: HistoryStatistics, days: int, made_at: float) -> JsonObject:
    total = statistics.total
    return {
        "days": days,
        "made_at": made_at,
        "failed_runs": total.count,
        "retries_succeeded": total.succeeded,
        "retries_failed": total.failed,
        "success_percent": total.success_percent,
        "escalated": statistics.actions.get("escalated", 0),
        "decided_by_model": statistics.sources.get("model", 0),
        "wrong_diagnoses": total.wrong_diagnoses,
        "blocks": blocks_for_programs(tuple(_summary_blocks(statistics))),
    }


def _summary_blocks(statistics: HistoryStatistics) -> Iterator[Block]:
    if not statistics.total.count:
        return
    period = "day" if statistics.days_of_period == 1 else "week"
    shown = [each for each in statistics.decisions if each.count]
    yield Chart(
        ChartKind.STACKED_BAR,
        tuple(
            Series(
                _decision_name(each.decision),
                tuple(Point(f"{p.first_day}", float(p.counts.get(each.decision, 0))) for p in statistics.periods),
            )
            for each in shown
        ),
        title=f"Decisions about failed runs, by {period}",
        x_axis=period.capitalize(),
        y_axis="Failed runs",
    )
    if any(p.succeeded or p.failed for p in statistics.periods):
        yield Chart(
            ChartKind.STACKED_BAR,
            (
                Series("Succeeded", tuple(Point(f"{p.first_day}", float(p.succeeded)) for p in statistics.periods)),
                Series("Failed", tuple(Point(f"{p.first_day}", float(p.failed)) for p in statistics.periods)),
            ),
            title=f"Outcomes of retries, by {period}",
            x_axis=period.capitalize(),
            y_axis="Retried runs",
        )
    yield _outcomes(shown)
    for title, counts in (("Causes", statistics.causes), ("Jobs", statistics.jobs)):
        points = tuple(Point(clean_line(name, _NAME), float(count)) for name, count in counts)
        yield Chart(ChartKind.HORIZONTAL_BAR, (Series("Failed runs", points),), title=title, y_axis="Failed runs")


def _outcomes(decisions: Sequence[DecisionStatistics]) -> Table:
    numbers = (
        "Runs",
        "Succeeded",
        "Failed",
        "Canceled or unknown",
        "No outcome",
        "Success rate in %",
        "Wrong diagnosis",
    )
    return Table(
        (Column("Decision"), *(Column(name, ColumnType.NUMBER) for name in numbers)),
        tuple(
            (
                _decision_name(each.decision),
                each.count,
                each.succeeded,
                each.failed,
                each.canceled,
                each.open,
                each.success_percent,
                each.wrong_diagnoses,
            )
            for each in decisions
        ),
        title="Decisions and outcomes",
    )


def _decision_name(decision: str) -> str:
    return _DECISIONS.get(decision) or clean_line(decision, _NAME)
