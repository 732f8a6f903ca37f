"""A failed run of a job, with the evidence of why it failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ClusterTermination:
    """Why the cluster of a task ended. `code` is raw, such as "SPOT_INSTANCE_TERMINATION"; `type` is SUCCESS,
    CLIENT_ERROR, SERVICE_FAULT, CLOUD_FAILURE, or what is new.
    """

    code: str
    type: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """A task whose last attempt failed.

    `termination_code` is that of `status.termination_details`, raw, "" where there is none. `error` is the causing
    exception, a few lines at most; `trace` is bounded, its secrets removed.
    """

    task_key: str
    run_id: int
    termination_code: str
    termination_type: str
    message: str
    error: str
    trace: str
    attempt_number: int = 0
    cluster: ClusterTermination | None = None


@dataclass(frozen=True, slots=True)
class RunFailure:
    """Times are in seconds since 1970. `run_type` is JOB_RUN, WORKFLOW_RUN or SUBMIT_RUN.

    `parameters` are those of the job as they were resolved; `has_all_parameters`: False where some were left out to
    store it. `tasks` has the causing ones first. `attempt_number` counts the retries of the job before this run.
    `was_edited_since`: the job was changed after the run began.
    """

    workspace: str
    job_id: int
    job_name: str
    run_id: int
    url: str
    started_at_seconds: float
    ended_at_seconds: float
    termination_code: str
    run_type: str
    trigger: str
    parameters: Mapping[str, str]
    tasks: tuple[TaskFailure, ...]
    repair_ids: tuple[int, ...] = ()
    original_attempt_run_id: int = 0
    attempt_number: int = 0
    has_all_parameters: bool = True
    is_continuous: bool = False
    is_serverless: bool = False
    was_edited_since: bool = False
    newer_run: Literal["", "green", "active", "failed"] = ""
