"""What happens to decisions and incidents, as events that are read from the store again and again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from app.common.iso_time import iso_time
from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import DecisionRecords
from app.jobs.history.history_reading import DAY_SECONDS
from app.jobs.incidents.incident import Incident
from app.jobs.incidents.incident_store import IncidentStore

LOOK_BACK_DAYS: Final = 2
"""The outcome of a run that ended earlier is told by its incident alone."""


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """`id` is the same whenever the event is told. `at` is in ISO 8601, UTC. `data` is a flat row: a decision record,
    or what `incident_row` tells of an incident.
    """

    id: str
    type: Literal["decision", "outcome", "incident"]
    at: str
    data: dict[str, Any]


class HistoryEvents:
    """For one reader."""

    def __init__(
        self, records: DecisionRecords, incidents: IncidentStore, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._records = records
        self._incidents = incidents
        self._clock = clock
        self._seen: frozenset[str] | None = None
        self._open_ids: frozenset[str] = frozenset()

    async def new(self) -> list[HistoryEvent]:
        """Those since the last call, oldest first; the first call only begins. Raises `StorageError`."""
        now = self._clock()
        events = {event.id: event async for event in self._of_records(now - LOOK_BACK_DAYS * DAY_SECONDS, now)}
        opened = {incident.id: incident for incident in await self._incidents.open()}
        changed = list(opened.values())
        for id_ in self._open_ids - opened.keys():
            if (incident := await self._incidents.find(id_)) is not None:
                changed.append(incident)
        events |= {event.id: event for event in map(_of_incident, changed)}
        seen, self._seen, self._open_ids = self._seen, frozenset(events), frozenset(opened)
        return [] if seen is None else _in_order(event for id_, event in events.items() if id_ not in seen)

    async def since(self, since_seconds: float) -> list[HistoryEvent]:
        """Those that the store still knows, oldest first; of an incident only how it is now. Raises `StorageError`."""
        now = self._clock()
        events = [event async for event in self._of_records(since_seconds - LOOK_BACK_DAYS * DAY_SECONDS, now)]
        incidents = {incident.id: incident for incident in await self._incidents.open()}
        named = dict.fromkeys(str(event.data["incident_id"]) for event in events)
        for id_ in named.keys() - incidents.keys() - {""}:
            if (incident := await self._incidents.find(id_)) is not None:
                incidents[id_] = incident
        events += map(_of_incident, incidents.values())
        first = iso_time(since_seconds)
        return _in_order(event for event in events if event.at >= first)

    async def _of_records(self, since_seconds: float, until_seconds: float) -> AsyncIterator[HistoryEvent]:
        async for record in self._records.between(since_seconds, until_seconds):
            for event in _of_record(record):
                yield event


def _of_record(record: DecisionRecord) -> Iterable[HistoryEvent]:
    row = record.model_dump()
    yield HistoryEvent(f"decision-{record.key}", "decision", record.at, row)
    if record.outcome:
        id_ = f"outcome-{record.key}-{record.outcome}-{record.outcome_at}"
        yield HistoryEvent(id_, "outcome", record.outcome_at or record.at, row)


def _of_incident(incident: Incident) -> HistoryEvent:
    changed_at = iso_time(incident.changed_at_seconds)
    id_ = f"incident-{incident.id}-{incident.state}-{incident.changed_at_seconds * 1000:.0f}"
    return HistoryEvent(id_, "incident", changed_at, incident_row(incident))


def incident_row(incident: Incident) -> dict[str, str | int]:
    return {
        "id": incident.id,
        "kind": incident.kind,
        "state": incident.state.value,
        "mode": incident.mode.value,
        "workspace": incident.workspace,
        "job_id": incident.job_id,
        "job_name": incident.job_name,
        "run_ids": ",".join(dict.fromkeys(str(run.run_id) for run in incident.runs)),
        "run_count": incident.run_count,
        "decision": incident.decision.action.value,
        "cause": incident.decision.cause,
        "reason": incident.decision.reason,
        "proposal_id": incident.proposal.id if incident.proposal is not None else "",
        "opened_at": iso_time(incident.opened_at_seconds),
        "changed_at": iso_time(incident.changed_at_seconds),
    }


def _in_order(events: Iterable[HistoryEvent]) -> list[HistoryEvent]:
    return sorted(events, key=lambda event: (event.at, event.type, event.id))


def seconds_of_iso(text: str) -> float:
    """Without a zone it is UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
