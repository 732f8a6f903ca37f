"""What `monitor_jobs` returns: flat rows of strings and integers, since Spark makes rows of nothing else. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from app.common.iso_time import iso_time
from app.jobs.history.decision_record import PRIMARY, DecisionRecord
from app.jobs.incidents.incident import Incident
from app.jobs.watching.job_watch import PassResult

ACTIONS: Final = ("retried", "retried_with_params", "escalated", "skipped", "proposed")

Row = dict[str, str | int]


def pass_summary(result: PassResult, *, workspace: str, recipients: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """`actions`: one row each, whatever happened; `incidents`: those that the pass opened or changed, as they are now;
    `decisions`: one row for each failed run; `notes`: sentences about what could not be watched or done. `recipients`:
    who was mailed, by incident.
    """
    return {
        "actions": {action: _row(action, result, workspace, recipients) for action in ACTIONS},
        "incidents": [_followed(incident) for incident in result.incidents],
        "decisions": [record.model_dump() for record in result.records if record.strategy == PRIMARY],
        "notes": list(result.notes),
        "with_failures": result.with_failures,
    }


def _row(action: str, result: PassResult, workspace: str, recipients: Mapping[str, Sequence[str]]) -> Row:
    records = [record for record in result.records if record.action == action]
    ids = dict.fromkeys(record.incident_id for record in records)
    incidents = {incident.id: incident for incident in result.incidents}
    mailed = dict.fromkeys(address for id_ in ids for address in recipients.get(id_, ()))
    told = [_incident(id_, incidents.get(id_), records) for id_ in ids]
    return {
        "pass_id": result.pass_id,
        "at": iso_time(result.at_seconds),
        "workspace": workspace,
        "mode": result.mode.value,
        "action": action,
        "count": len(records),
        "job_ids": _comma_text(record.job_id for record in records),
        "run_ids": ",".join(str(record.run_id) for record in records),
        "recipients": ",".join(mailed),
        "incidents": json.dumps(told, ensure_ascii=False),
    }


def _followed(incident: Incident) -> Row:
    return {
        "incident_id": incident.id,
        "job_id": incident.job_id,
        "job_name": incident.job_name,
        "kind": incident.kind,
        "state": incident.state.value,
        "cause": incident.decision.cause,
        "runs": incident.run_count,
    }


def _incident(id_: str, incident: Incident | None, records: Sequence[DecisionRecord]) -> dict[str, Any]:
    mine = [record for record in records if record.incident_id == id_]
    return {
        "id": id_,
        "job_ids": list(dict.fromkeys(record.job_id for record in mine)),
        "run_ids": [record.run_id for record in mine],
        "job_name": mine[0].job_name,
        "cause": mine[0].cause,
        "reason": mine[0].reason,
        "state": incident.state.value if incident is not None else "",
        "proposal_id": mine[0].proposal_id,
        "parameters": mine[0].parameters,
    }


def _comma_text(numbers: Iterable[int]) -> str:
    return ",".join(str(number) for number in dict.fromkeys(numbers))
