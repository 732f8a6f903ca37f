"""Finds a repair of a failed attempt that was begun already: by somebody else, or by a watcher that got no answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.jobs.repairs.repair_history import is_another_attempt, repairs_after, repairs_after_end
from app.jobs.repairs.repair_log import RunRepairs
from app.jobs.repairs.repair_request import RepairRequest, StartedRetry

Json = Mapping[str, Any]

_CLOCK_SKEW_SECONDS = 60.0


def begun_repair(request: RepairRequest, run: Json, known: RunRepairs) -> StartedRetry | None:
    """It is ours if one of our watchers asked for it at that time, which is all there is to know it by. `known` may
    leave out what this watcher asked for and was refused.
    """
    asked = known.asked_repairs(request.ended_at_seconds)
    repairs = (
        repairs_after(run, asked[0].latest_repair_id) if asked else repairs_after_end(run, request.ended_at_seconds)
    )
    for repair in repairs:
        for each in asked:
            earliest, latest = each.asked_from_seconds, each.asked_until_seconds
            if earliest - _CLOCK_SKEW_SECONDS <= repair.started_at_seconds <= latest + _CLOCK_SKEW_SECONDS:
                return StartedRetry("repair", request.run_id, repair.id)
    if not repairs and not is_another_attempt(run, request.ended_at_seconds):
        return None
    return StartedRetry("repair", request.run_id, repairs[0].id if repairs else 0, by_us=bool(asked) and not repairs)
