"""The body of Databricks' webhook for the notifications of jobs:
https://docs.databricks.com/aws/en/jobs/notifications

It is no evidence: only which run to read from the workspace, where what it says is found or not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from app.common.json_values import count, mapping, text

MAX_BODY_BYTES = 64 * 1024
_MAX_ID = 2**63 - 1
_MAX_EVENT_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class JobNotification:
    """`event` such as "jobs.on_failure", "" where none is named. `run_id` is the run of the job, also where a task is
    what failed; `job_id` is 0 where the body names none.
    """

    event: str
    job_id: int
    run_id: int


def job_notification(body: bytes) -> JobNotification | None:
    """None for a body that names no run, or is longer than `MAX_BODY_BYTES`. Ids come as text or numbers."""
    if len(body) > MAX_BODY_BYTES:
        return None
    try:
        told = mapping(json.loads(body))
    except (ValueError, RecursionError):
        return None
    run, job = mapping(told.get("run")), mapping(told.get("job"))
    run_id = _id(run.get("parent_run_id")) or _id(run.get("run_id")) or _id(told.get("run_id"))
    if not run_id:
        return None
    job_id = _id(job.get("job_id")) or _id(told.get("job_id"))
    return JobNotification(text(told.get("event_type"))[:_MAX_EVENT_CHARACTERS], job_id, run_id)


def _id(value: object) -> int:
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= len(str(_MAX_ID)):
        value = int(value)
    number = 0 if isinstance(value, bool) else count(value)
    return number if number <= _MAX_ID else 0
