"""Jobs of the stand-in workspace in plain Python: their tasks, and how each attempt of a task ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

RunIf = Literal["ALL_SUCCESS", "ALL_DONE", "AT_LEAST_ONE_SUCCESS"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ends: `status.termination_details`, the fields of its output, and the `termination_reason` of its
    cluster where that ended too early.
    """

    code: str = "SUCCESS"
    type: str = "SUCCESS"
    message: str = ""
    seconds: float = 60.0
    error: str = ""
    trace: str = ""
    logs: str = ""
    cluster_termination: Mapping[str, Any] | None = None

    @property
    def succeeded(self) -> bool:
        return self.code in {"SUCCESS", "SUCCESS_WITH_FAILURES"}


SUCCESS = Outcome()


def failure(error: str, trace: str = "", *, logs: str = "", seconds: float = 60.0) -> Outcome:
    """The code of the task raised an exception."""
    message = "Workload failed, see run output for details"
    return Outcome("RUN_EXECUTION_ERROR", "CLIENT_ERROR", message, seconds, error, trace, logs)


def cluster_failure(
    code: str, type_: str, parameters: Mapping[str, str] | None = None, *, seconds: float = 60.0
) -> Outcome:
    """The cluster ended with this `termination_reason`, so the task could not run."""
    reason = {"code": code, "type": type_, "parameters": dict(parameters or {})}
    message = f"Cluster was terminated. Reason: {code} ({type_})"
    return Outcome("CLUSTER_ERROR", "CLOUD_FAILURE", message, seconds, error=message, cluster_termination=reason)


@dataclass(frozen=True, slots=True)
class Attempt:
    """`number` counts the attempts of the task in its run from 0, those of repairs among them; `run_attempt` counts the
    runs that the retries of the job began.
    """

    number: int
    run_attempt: int
    parameters: Mapping[str, str]


Behaviour = Callable[[Attempt], Outcome]


def in_turn(*outcomes: Outcome) -> Behaviour:
    """The outcomes of the first attempt, the second and so on, of retries and repairs alike; the last one repeats."""
    return lambda attempt: outcomes[min(attempt.number + attempt.run_attempt, len(outcomes) - 1)]


_SUCCEEDS = in_turn(SUCCESS)


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """`definition` is the task as its job has it. With `iterations` it is a for-each task, one behaviour for each
    input; with `job_id` it runs that job; with `pipeline_id` it updates that pipeline.
    """

    key: str
    behaviour: Behaviour = _SUCCEEDS
    depends_on: tuple[str, ...] = ()
    run_if: RunIf = "ALL_SUCCESS"
    max_retries: int = 0
    retry_pause_seconds: float = 0.0
    definition: Mapping[str, Any] = field(default_factory=lambda: {"notebook_task": {"notebook_path": "/jobs/task"}})
    iterations: tuple[Behaviour, ...] = ()
    job_id: int = 0
    pipeline_id: str = ""

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"task_key": self.key, "run_if": self.run_if}
        if self.depends_on:
            told["depends_on"] = [{"task_key": key} for key in self.depends_on]
        if self.max_retries:
            told |= {"max_retries": self.max_retries}
            told |= {"min_retry_interval_millis": int(self.retry_pause_seconds * 1000)}
        if self.iterations:
            inputs = str(list(range(len(self.iterations))))
            inner = {"task_key": f"{self.key}_iteration", **self.definition}
            return told | {"for_each_task": {"inputs": inputs, "task": inner}}
        if self.job_id:
            return told | {"run_job_task": {"job_id": self.job_id}}
        if self.pipeline_id:
            return told | {"pipeline_task": {"pipeline_id": self.pipeline_id}}
        return told | dict(self.definition)


@dataclass(frozen=True, slots=True)
class JobPlan:
    """`settings` are more settings as jobs/get tells them, such as a schedule; `viewers` the user names of the
    permissions. A job that is `is_hidden` is refused with 403. `is_one_time`: what runs/submit makes.
    """

    name: str
    tasks: tuple[TaskPlan, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    max_retries: int = 0
    retry_pause_seconds: float = 0.0
    max_concurrent_runs: int = 1
    is_queued: bool = True
    is_continuous: bool = False
    is_serverless: bool = False
    is_hidden: bool = False
    is_one_time: bool = False
    setup_seconds: float = 5.0
    tags: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    viewers: tuple[str, ...] = ()

    def settings_json(self) -> dict[str, Any]:
        """Without the tasks and the parameters, which come in pages."""
        told: dict[str, Any] = {
            "name": self.name,
            "max_concurrent_runs": self.max_concurrent_runs,
            "format": "MULTI_TASK",
            "queue": {"enabled": self.is_queued},
        }
        if self.tags:
            told["tags"] = dict(self.tags)
        if self.is_continuous:
            told["continuous"] = {"pause_status": "UNPAUSED"}
        if self.max_retries:
            told |= {"max_retries": self.max_retries}
            told |= {"min_retry_interval_millis": int(self.retry_pause_seconds * 1000)}
        return told | dict(self.settings)

    @property
    def is_paused(self) -> bool:
        settings = self.settings_json()
        return any(
            settings.get(name, {}).get("pause_status") == "PAUSED" for name in ("continuous", "schedule", "trigger")
        )
