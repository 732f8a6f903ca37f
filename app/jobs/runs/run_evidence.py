"""Reads a failed run with its evidence: outputs of tasks, iterations, nested jobs, clusters, events of pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.common.concurrency import gather_or_cancel
from app.common.json_values import count, items, mapping, text
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import WorkspaceNotFoundError, WorkspacePermissionError, WorkspaceRequestError
from app.jobs.runs.causing_error import bounded_trace, causing_error
from app.jobs.runs.job_edits import definition, was_edited
from app.jobs.runs.run_failure import ClusterTermination, RunFailure, TaskFailure
from app.jobs.runs.run_summary import (
    CANCELED,
    NOT_RUN,
    SUCCEEDED,
    NewerRun,
    has_ended,
    termination_code,
    termination_details,
)
from app.tools.redaction import without_secrets

Json = Mapping[str, Any]

_MAX_FAILED_TASKS = 50
_MAX_INNER_RUNS = 5
_MAX_NESTED_JOBS = 3
_MAX_CONCURRENT_CALLS = 8
_MAX_DEFINITIONS = 32
_MAX_NAME_CHARACTERS = 300
_MAX_MESSAGE_CHARACTERS = 1_000
_MAX_CLUSTER_PARAMETERS = 20

_CLUSTER_IS_NO_CAUSE = frozenset(
    [
        *("RUN_EXECUTION_ERROR", "USERCANCELED", "UNAUTHORIZED_ERROR", "RESOURCE_NOT_FOUND", "FEATURE_DISABLED"),
        *("INVALID_RUN_CONFIGURATION", "REPOSITORY_CHECKOUT_FAILED", "MAX_CONCURRENT_RUNS_EXCEEDED"),
    ]
)
_NO_EVIDENCE = (WorkspaceNotFoundError, WorkspacePermissionError, WorkspaceRequestError)


@dataclass(frozen=True, slots=True)
class _Evidence:
    error: str = ""
    trace: str = ""


class RunEvidence:
    """`workspace` is the name of the workspace that `api` calls."""

    def __init__(self, api: JobsApi, workspace: str) -> None:
        self._api = api
        self._workspace = workspace
        self._definitions: dict[int, Json] = {}
        self._calls = asyncio.Semaphore(_MAX_CONCURRENT_CALLS)

    async def failure(self, run_id: int, *, newer_run: NewerRun = "") -> RunFailure | None:
        """None where the run has not ended, or succeeded, even "with failures". `newer_run` is what the list of runs
        told.

        What is gone, not allowed or refused is left out of the evidence. Raises WorkspaceError where the run cannot be
        read, or where asking again later may give the evidence.
        """
        async with self._calls:
            run = await self._api.run(run_id)
        self._definitions[run_id] = definition(run)
        if len(self._definitions) > _MAX_DEFINITIONS:
            del self._definitions[next(iter(self._definitions))]
        failure = await self._failure(run, depth=0)
        return None if failure is None else replace(failure, newer_run=newer_run)

    async def with_edits(self, failure: RunFailure) -> RunFailure:
        """`failure` with `was_edited_since`, for which its job is read. It stays as it is where the job is gone or may
        not be seen, where there was none, and for a run that is not among the last that were read here.

        Raises WorkspaceError where asking again later may tell.
        """
        run = self._definitions.get(failure.run_id)
        if run is None:
            return failure
        try:
            async with self._calls:
                job = await self._api.job(failure.job_id)
        except _NO_EVIDENCE:
            return failure
        return replace(failure, was_edited_since=was_edited(run, mapping(job.get("settings"))))

    async def _failure(self, run: Json, depth: int) -> RunFailure | None:
        code = termination_code(run)
        if not has_ended(run) or code in SUCCEEDED:
            return None
        # A run that was submitted in the old way, or never began, has no tasks.
        tasks = failed_tasks(run)[:_MAX_FAILED_TASKS] if items(run.get("tasks")) else [run]
        clusters = await self._clusters(tasks)
        failures = await gather_or_cancel(self._task_failure(task, clusters, depth) for task in tasks)
        return RunFailure(
            workspace=self._workspace,
            job_id=count(run.get("job_id")),
            job_name=text(run.get("run_name"))[:_MAX_NAME_CHARACTERS],
            run_id=count(run.get("run_id")),
            url=text(run.get("run_page_url")),
            started_at_seconds=count(run.get("start_time")) / 1000,
            ended_at_seconds=count(run.get("end_time")) / 1000,
            termination_code=code,
            run_type=text(run.get("run_type")),
            trigger=text(run.get("trigger")),
            parameters=job_parameters(run),
            tasks=tuple(failures),
            repair_ids=tuple(repair for each in items(run.get("repair_history")) if (repair := _repair_id(each))),
            original_attempt_run_id=count(run.get("original_attempt_run_id")),
            attempt_number=count(run.get("attempt_number")),
            is_continuous=run.get("trigger") == "CONTINUOUS",
            is_serverless=is_serverless(run),
        )

    async def _task_failure(self, task: Json, clusters: Mapping[str, ClusterTermination], depth: int) -> TaskFailure:
        details = termination_details(task)
        message = without_secrets(text(details.get("message")) or text(mapping(task.get("state")).get("state_message")))
        run_id = count(task.get("run_id"))
        failure = TaskFailure(
            task_key=text(task.get("task_key")),
            run_id=run_id,
            termination_code=termination_code(task),
            termination_type=text(details.get("type")),
            message=message[:_MAX_MESSAGE_CHARACTERS],
            error=causing_error(message),
            trace="",
            attempt_number=count(task.get("attempt_number")),
            cluster=clusters.get(_cluster_id(task)),
        )
        if not run_id or failure.termination_code in NOT_RUN:
            return failure
        if "for_each_task" in task:
            return await self._with_iterations(failure, clusters, depth)
        if pipeline_id := text(mapping(task.get("pipeline_task")).get("pipeline_id")):
            return _with(failure, await self._pipeline_evidence(pipeline_id, count(task.get("start_time")) / 1000))
        output = await self._output(run_id)
        child_id = count(mapping(output.get("run_job_output")).get("run_id"))
        if child_id and depth < _MAX_NESTED_JOBS:
            return await self._with_nested_job(failure, child_id, depth)
        return _with(failure, _evidence_of(output))

    async def _output(self, task_run_id: int) -> Json:
        try:
            async with self._calls:
                return await self._api.output(task_run_id)
        except _NO_EVIDENCE:
            return {}

    async def _inner_run(self, run_id: int) -> Json:
        try:
            async with self._calls:
                return await self._api.run(run_id)
        except _NO_EVIDENCE:
            return {}

    async def _with_iterations(
        self, failure: TaskFailure, clusters: Mapping[str, ClusterTermination], depth: int
    ) -> TaskFailure:
        run = await self._inner_run(failure.run_id)
        failed = failed_tasks({"tasks": run.get("iterations")}, key="run_id")[:_MAX_INNER_RUNS]
        clusters = {**clusters, **await self._clusters(failed)}
        inner = [self._task_failure(each, clusters, depth) for each in failed]
        return _folded(failure, await gather_or_cancel(inner))

    async def _with_nested_job(self, failure: TaskFailure, run_id: int, depth: int) -> TaskFailure:
        child = await self._failure(await self._inner_run(run_id), depth + 1)
        return failure if child is None else _folded(failure, child.tasks[:_MAX_INNER_RUNS])

    async def _pipeline_evidence(self, pipeline_id: str, since_seconds: float) -> _Evidence:
        try:
            async with self._calls:
                events = await self._api.pipeline_errors(pipeline_id)
        except _NO_EVIDENCE:
            return _Evidence()
        told = [_event_text(event) for event in events if _event_seconds(event) >= since_seconds]
        causes = [causing_error(each) for each in told if each]
        # "Update … is FAILED" says nothing where another event has an exception.
        causing = next((cause for cause in causes if not cause.startswith(("Update ", "Failed to "))), "")
        return _Evidence(causing or "".join(causes[:1]), bounded_trace("\n\n".join(told)))

    async def _clusters(self, tasks: Sequence[Json]) -> dict[str, ClusterTermination]:
        """By cluster id, each asked for once."""
        ids = {_cluster_id(task): None for task in tasks if termination_code(task) not in _CLUSTER_IS_NO_CAUSE}
        wanted = [each for each in ids if each]
        found = await gather_or_cancel(self._cluster(each) for each in wanted)
        return {id_: reason for id_, reason in zip(wanted, found, strict=True) if reason is not None}

    async def _cluster(self, cluster_id: str) -> ClusterTermination | None:
        try:
            async with self._calls:
                reason = mapping((await self._api.cluster(cluster_id)).get("termination_reason"))
        except _NO_EVIDENCE:
            return None
        parameters = [each for each in mapping(reason.get("parameters")).items() if isinstance(each[1], str)]
        clean = {
            name: without_secrets(value)[:_MAX_MESSAGE_CHARACTERS]
            for name, value in parameters[:_MAX_CLUSTER_PARAMETERS]
        }
        code, type_ = text(reason.get("code")), text(reason.get("type"))
        # A cluster that ended well, as a job cluster does after its job, explains nothing.
        return ClusterTermination(code, type_, clean) if code and type_ != "SUCCESS" else None


def failed_tasks(run: Json, *, key: str = "task_key") -> Sequence[Json]:
    """The last attempt of each task that failed, the causing ones first: those that failed by themselves, the earliest
    first, then canceled ones. Those that never ran are there only where nothing else is.
    """
    last: dict[object, Json] = {}
    for task in map(mapping, items(run.get("tasks"))):
        name = str(task.get(key))
        if name not in last or _attempt(task) >= _attempt(last[name]):
            last[name] = task
    failed = [each for each in last.values() if has_ended(each) and termination_code(each) not in SUCCEEDED]
    ran = [each for each in failed if not _never_ran(each)] or failed
    return sorted(ran, key=lambda each: (termination_code(each) in CANCELED, count(each.get("end_time"))))


def _never_ran(task: Json) -> bool:
    result = text(mapping(task.get("state")).get("result_state"))
    return termination_code(task) in NOT_RUN or result in NOT_RUN


def _attempt(task: Json) -> tuple[int, int]:
    return count(task.get("attempt_number")), count(task.get("start_time"))


def _cluster_id(task: Json) -> str:
    return text(mapping(task.get("cluster_instance")).get("cluster_id"))


def _repair_id(repair: object) -> int:
    return count(mapping(repair).get("id"))


def job_parameters(run: Json) -> dict[str, str]:
    """Whole, as a repair sends them again."""
    parameters = map(mapping, items(run.get("job_parameters")))
    return {
        name: text(each.get("value")) if "value" in each else text(each.get("default"))
        for each in parameters
        if (name := text(each.get("name")))
    }


def is_serverless(run: Json) -> bool:
    tasks = map(mapping, items(run.get("tasks")))
    return bool(run.get("effective_performance_target")) or any("environment_key" in each for each in tasks)


def _evidence_of(output: Json) -> _Evidence:
    error = text(output.get("error"))
    trace = text(output.get("error_trace")) or text(output.get("logs"))
    return _Evidence(causing_error(error, trace), bounded_trace(trace))


def _with(failure: TaskFailure, evidence: _Evidence) -> TaskFailure:
    return replace(failure, error=evidence.error or failure.error, trace=evidence.trace)


def _folded(failure: TaskFailure, inner: Sequence[TaskFailure]) -> TaskFailure:
    """The failure of the task that a repair can name, with the evidence of the first inner run and every error."""
    if not inner:
        return failure
    first = inner[0]
    others = "\n".join(f"{each.task_key} (run {each.run_id}): {each.error}" for each in inner)
    return replace(
        failure,
        termination_code=first.termination_code or failure.termination_code,
        termination_type=first.termination_type or failure.termination_type,
        error=first.error or failure.error,
        trace=bounded_trace(f"{others}\n\n{first.trace}"),
        cluster=first.cluster or failure.cluster,
    )


def _event_text(event: Json) -> str:
    exceptions = [mapping(each) for each in items(mapping(event.get("error")).get("exceptions"))]
    told = [f"{text(each.get('class_name'))}: {text(each.get('message'))}" for each in exceptions]
    return "\n".join([text(event.get("message")), *told[:1], *(f"Caused by: {each}" for each in told[1:])])


def _event_seconds(event: Json) -> float:
    """Infinite for a time that cannot be read, so that the event is kept."""
    try:
        return datetime.fromisoformat(text(event.get("timestamp"))).timestamp()
    except (ValueError, OverflowError):
        return float("inf")
