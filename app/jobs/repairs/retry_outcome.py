"""How a retry that was begun goes on, or has ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.common.json_values import count, items, mapping
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import WorkspaceNotFoundError, WorkspacePermissionError
from app.jobs.repairs.repair_request import RetryOutcome, StartedRetry
from app.jobs.runs.ended_runs import may_be_retried
from app.jobs.runs.run_summary import CANCELED, SUCCEEDED, has_ended, run_summary, termination_code

Json = Mapping[str, Any]

_GONE = (WorkspaceNotFoundError, WorkspacePermissionError)


async def retry_outcome(api: JobsApi, started: StartedRetry, now: float) -> RetryOutcome:
    """A run that the job retries by itself is active until the last attempt has ended. `now` is in seconds since 1970.

    Raises WorkspaceError where asking again later may tell.
    """
    try:
        run = await api.run(started.run_id)
        if started.kind == "run" and has_ended(run):
            return await _outcome_of_attempts(api, run, now)
    except _GONE:
        return "unknown"
    if started.repair_id:
        repairs = (mapping(each) for each in items(run.get("repair_history")))
        run = next((each for each in repairs if count(each.get("id")) == started.repair_id), run)
    return _outcome_of(run)


async def _outcome_of_attempts(api: JobsApi, first: Json, now: float) -> RetryOutcome:
    last, outcome = run_summary(first), _outcome_of(first)
    if outcome != "failed" or not last.ran:
        return outcome
    async for each in api.runs(job_id=last.job_id, start_time_from_ms=last.started_ms):
        listed = run_summary(each)
        if listed.original_run_id == last.original_run_id and listed.attempt_number > last.attempt_number:
            last, outcome = listed, _outcome_of(each)
    if outcome == "failed":
        try:
            settings = mapping((await api.job(last.job_id)).get("settings"))
        except _GONE:
            return outcome
        if may_be_retried(last, settings, round(now * 1000)):
            return "active"
    return outcome


def _outcome_of(run: Json) -> RetryOutcome:
    """Of a run, or of a repair in its history."""
    if not has_ended(run):
        return "active"
    code = termination_code(run)
    if code in SUCCEEDED:
        return "succeeded"
    return "canceled" if code in CANCELED else "failed"
