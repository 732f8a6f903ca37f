"""What a run says of its repairs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.common.json_values import count, items, mapping
from app.jobs.runs.run_summary import has_ended

Json = Mapping[str, Any]

SAME_END_SECONDS = 0.5
"""Ends are told in milliseconds; what is this much later is another end."""


@dataclass(frozen=True, slots=True)
class ServiceRepair:
    id: int
    started_at_seconds: float


def repairs_of(run: Json) -> Sequence[ServiceRepair]:
    """The oldest first. The run itself, which stands in the history too, has no repair id."""
    told = [mapping(each) for each in items(run.get("repair_history"))]
    found = [
        ServiceRepair(id_, count(each.get("start_time")) / 1000) for each in told if (id_ := count(each.get("id")))
    ]
    return sorted(found, key=lambda each: (each.started_at_seconds, each.id))


def latest_repair_id(run: Json) -> int:
    """0 where it was never repaired."""
    repairs = repairs_of(run)
    return repairs[-1].id if repairs else 0


def repairs_after_end(run: Json, ended_at_seconds: float) -> Sequence[ServiceRepair]:
    """Those of the attempt that ended then."""
    return [each for each in repairs_of(run) if each.started_at_seconds >= ended_at_seconds - SAME_END_SECONDS]


def repairs_after(run: Json, repair_id: int) -> Sequence[ServiceRepair]:
    """Those after that repair; all for 0."""
    repairs = repairs_of(run)
    places = [place for place, each in enumerate(repairs) if each.id == repair_id]
    return repairs[places[0] + 1 :] if places else repairs[-1:] if repair_id else repairs


def is_another_attempt(run: Json, ended_at_seconds: float) -> bool:
    """Whether the run has begun again since that end."""
    return not has_ended(run) or count(run.get("end_time")) / 1000 > ended_at_seconds + SAME_END_SECONDS


def has_begun(run: Json) -> bool:
    """A run none of whose tasks began has nothing that can be repaired."""
    return any(count(mapping(each).get("start_time")) for each in items(run.get("tasks")))


def service_attempts(run: Json) -> int:
    """Repairs, and the retries of the job before this run."""
    return len(repairs_of(run)) + count(run.get("attempt_number"))
