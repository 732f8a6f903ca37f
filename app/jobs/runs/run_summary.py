"""What a list of runs says of one of them, without its tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.common.json_values import count, mapping, text

Json = Mapping[str, Any]
NewerRun = Literal["", "green", "active", "failed"]

SUCCEEDED = frozenset({"SUCCESS", "SUCCESS_WITH_FAILURES"})
NOT_RUN = frozenset({"SKIPPED", "UPSTREAM_FAILED", "UPSTREAM_CANCELED", "EXCLUDED", "DISABLED"})
CANCELED = frozenset({"CANCELED", "USER_CANCELED"})
_NEVER_BEGAN = NOT_RUN | {"MAX_CONCURRENT_RUNS_EXCEEDED", "MAXIMUM_CONCURRENT_RUNS_REACHED"}
_NOT_BEGUN = frozenset({"QUEUED", "BLOCKED"})
_MAX_NAME_CHARACTERS = 300
_MAX_URL_CHARACTERS = 500
_MAX_CODE_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Times are in milliseconds since 1970; `ended_ms` is 0 for a run that has not ended. A repair changes the end of a
    run, never its start. `code` is the termination code, raw; `original_run_id` is that of the first attempt;
    `parent_task_run_id` that of the task that began a nested run, else 0.
    """

    run_id: int
    job_id: int
    name: str
    url: str
    run_type: str
    trigger: str
    started_ms: int
    ended_ms: int
    duration_ms: int
    queued_ms: int
    code: str
    has_begun: bool
    attempt_number: int
    original_run_id: int
    parent_task_run_id: int

    @property
    def has_ended(self) -> bool:
        return self.ended_ms > 0

    @property
    def succeeded(self) -> bool:
        return self.has_ended and self.code in SUCCEEDED

    @property
    def failed(self) -> bool:
        return self.has_ended and self.code not in SUCCEEDED

    @property
    def ran(self) -> bool:
        """False for a run that was refused or skipped, which says nothing about its job."""
        return self.code not in _NEVER_BEGAN

    @property
    def key(self) -> str:
        """Names this ended attempt in every pass and process; a repair that ends has another one."""
        return f"{self.run_id}-{self.ended_ms}"


def run_summary(run: Json) -> RunSummary:
    run_id, started_ms = count(run.get("run_id")), count(run.get("start_time"))
    return RunSummary(
        run_id=run_id,
        job_id=count(run.get("job_id")),
        name=text(run.get("run_name"))[:_MAX_NAME_CHARACTERS],
        url=text(run.get("run_page_url"))[:_MAX_URL_CHARACTERS],
        run_type=text(run.get("run_type")),
        trigger=text(run.get("trigger")),
        started_ms=started_ms,
        # A run that never began may end without a time.
        ended_ms=(count(run.get("end_time")) or started_ms or 1) if has_ended(run) else 0,
        duration_ms=count(run.get("run_duration")),
        queued_ms=count(run.get("queue_duration")),
        code=termination_code(run)[:_MAX_CODE_CHARACTERS],
        has_begun=_state(run) not in _NOT_BEGUN,
        attempt_number=count(run.get("attempt_number")),
        original_run_id=count(run.get("original_attempt_run_id")) or run_id,
        parent_task_run_id=count(mapping(run.get("trigger_info")).get("run_id")),
    )


def has_ended(run: Json) -> bool:
    state = text(mapping(run.get("status")).get("state"))
    return state == "TERMINATED" if state else _old_state(run) in {"TERMINATED", "INTERNAL_ERROR", "SKIPPED"}


def termination_code(run: Json) -> str:
    """Of a run or the run of a task, raw; where the service sends none, the `result_state` that it replaces."""
    return text(termination_details(run).get("code")) or text(mapping(run.get("state")).get("result_state"))


def termination_details(run: Json) -> Json:
    return mapping(mapping(run.get("status")).get("termination_details"))


def newer_run(run: RunSummary, runs_of_job: Iterable[RunSummary]) -> NewerRun:
    """What became of the runs of the job that began after `run`, in any order: active where one has not ended, else
    green where one succeeded. Those that never ran do not count.
    """
    newer = [each for each in runs_of_job if each.started_ms > run.started_ms]
    if any(not each.has_ended for each in newer):
        return "active"
    if any(each.succeeded for each in newer):
        return "green"
    return "failed" if any(each.ran for each in newer) else ""


def _state(run: Json) -> str:
    return text(mapping(run.get("status")).get("state")) or _old_state(run)


def _old_state(run: Json) -> str:
    return text(mapping(run.get("state")).get("life_cycle_state"))
