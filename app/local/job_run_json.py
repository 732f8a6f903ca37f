"""The stand-in's jobs and runs as Jobs API 2.2 tells them. Arrays are whole here; the service sends them in pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.local.job_plans import JobPlan, Outcome
from app.local.job_runs import JobRun, Round, TaskRun

PAGED_RUN_ARRAYS = ("tasks", "iterations", "job_clusters", "job_parameters", "repair_history")
_MAX_TEXT_BYTES = 5 * 1024 * 1024

_RESULT_STATES = {
    "SUCCESS": "SUCCESS",
    "SUCCESS_WITH_FAILURES": "SUCCESS_WITH_FAILURES",
    "USER_CANCELED": "CANCELED",
    "CANCELED": "TIMEDOUT",
    "SKIPPED": "UPSTREAM_FAILED",
    "DISABLED": "DISABLED",
    "MAX_CONCURRENT_RUNS_EXCEEDED": "MAXIMUM_CONCURRENT_RUNS_REACHED",
}
_LIFE_CYCLE_STATES = {"WAITING": "WAITING_FOR_RETRY"}
_NOTEBOOK_TASKS = ("notebook_task", "pipeline_task", "spark_submit_task")

Json = dict[str, Any]


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def status_json(state: str, outcome: Outcome) -> Json:
    """`status`, and `state`, which it replaces."""
    status: Json = {"state": state}
    old: Json = {"life_cycle_state": _LIFE_CYCLE_STATES.get(state, state), "user_cancelled_or_timedout": False}
    if state == "QUEUED":
        message = "Queued due to reaching maximum concurrent runs of the job."
        status["queue_details"] = {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": message}
    if state in {"TERMINATED", "TERMINATING"}:
        details = {"code": outcome.code, "type": outcome.type, "message": outcome.message}
        status["termination_details"] = details
        old |= {"result_state": _RESULT_STATES.get(outcome.code, "FAILED"), "state_message": outcome.message}
        old["user_cancelled_or_timedout"] = outcome.code in {"USER_CANCELED", "CANCELED"}
        if state == "TERMINATED" and outcome.type in {"CLOUD_FAILURE", "INTERNAL_ERROR"}:
            old["life_cycle_state"] = "INTERNAL_ERROR"
        if outcome.code == "MAX_CONCURRENT_RUNS_EXCEEDED":
            old["life_cycle_state"] = "SKIPPED"
    return {"status": status, "state": old}


def run_json(run: JobRun, now: float, *, workspace_url: str, with_tasks: bool = True) -> Json:
    """Without the repair history; arrays that are empty are left out, as the service does."""
    state, ends_at = run.state(now), run.ends_at
    parameters = run.rounds[-1].parameters if run.rounds else run.parameters
    told: Json = {
        "job_id": run.job_id,
        "run_id": run.run_id,
        "job_run_id": run.run_id,
        "number_in_job": run.run_id,
        "creator_user_name": "owner@example.com",
        "run_name": run.plan.name,
        "run_page_url": f"{workspace_url}/#job/{run.job_id}/run/{run.run_id}",
        "run_type": "SUBMIT_RUN" if run.plan.is_one_time else "JOB_RUN",
        "format": "MULTI_TASK",
        "trigger": run.trigger,
        "attempt_number": run.attempt_number,
        "original_attempt_run_id": run.original_attempt_run_id,
        "start_time": milliseconds(run.started_at),
        "end_time": milliseconds(ends_at) if ends_at is not None and state == "TERMINATED" else 0,
        "setup_duration": 0,
        "execution_duration": 0,
        "cleanup_duration": 0,
        **status_json(state, run.outcome()),
    }
    if run.parent_task_run_id:
        told["trigger_info"] = {"run_id": run.parent_task_run_id}
    if run.plan.is_serverless:
        told["effective_performance_target"] = "PERFORMANCE_OPTIMIZED"
    if state == "TERMINATED" and ends_at is not None:
        told["run_duration"] = milliseconds(ends_at - run.started_at)
    seen = run.task_runs(now) if with_tasks else []
    tasks = [task_json(run, each, now, workspace_url=workspace_url) for each in seen]
    defaults = run.plan.parameters
    told_parameters = [
        {"name": name, "value": value} | ({"default": defaults[name]} if name in defaults else {})
        for name, value in parameters.items()
    ]
    return told | {name: array for name, array in (("tasks", tasks), ("job_parameters", told_parameters)) if array}


def task_json(run: JobRun, task: TaskRun, now: float, *, workspace_url: str) -> Json:
    state = task.state(now)
    told: Json = {
        **task.plan.as_json(),
        "run_id": task.run_id,
        "run_page_url": f"{workspace_url}/#job/{run.job_id}/run/{task.run_id}",
        "attempt_number": task.attempt_number,
        "start_time": milliseconds(task.begins_at) if state in {"RUNNING", "TERMINATED"} else 0,
        "end_time": milliseconds(task.ends_at) if state == "TERMINATED" else 0,
        **status_json(state, task.outcome),
    }
    if state in {"RUNNING", "TERMINATED"} and not run.plan.is_serverless and not task.plan.job_id:
        told["cluster_instance"] = {"cluster_id": cluster_id(task.run_id), "spark_context_id": str(task.run_id)}
    if task.iterations:
        ended = [each for each in task.iterations if each.state(now) == "TERMINATED"]
        failed = sum(not each.outcome.succeeded for each in ended)
        told["for_each_task"] |= {
            "stats": {
                "task_run_stats": {
                    "total_iterations": len(task.iterations),
                    "completed_iterations": len(ended),
                    "failed_iterations": failed,
                    "succeeded_iterations": len(ended) - failed,
                }
            }
        }
    return told


def task_run_json(run: JobRun, task: TaskRun, now: float, *, workspace_url: str) -> Json:
    """What runs/get tells of the run of a task."""
    told = task_json(run, task, now, workspace_url=workspace_url)
    shared = {"job_id": run.job_id, "job_run_id": run.run_id, "run_name": task.plan.key, "run_type": "JOB_RUN"}
    whole = {**{name: told[name] for name in told if name not in {"depends_on", "run_if"}}, **shared}
    if task.iterations:
        iterations = [task_json(run, each, now, workspace_url=workspace_url) for each in task.iterations]
        whole |= {"tasks": [told], "iterations": iterations if task.state(now) in {"RUNNING", "TERMINATED"} else []}
    return whole


def output_json(run: JobRun, task: TaskRun, now: float, *, workspace_url: str) -> Json:
    told: Json = {"metadata": task_run_json(run, task, now, workspace_url=workspace_url)}
    if task.child is not None and now >= task.child.started_at:
        told["run_job_output"] = {"run_id": task.child.run_id}
    if task.state(now) != "TERMINATED":
        return told
    outcome, definition = task.outcome, task.plan.as_json()
    told |= {name: value for name, value in (("error", outcome.error), ("error_trace", outcome.trace)) if value}
    if "notebook_task" in definition:
        told["notebook_output"] = {}
    if outcome.logs and not any(name in definition for name in _NOTEBOOK_TASKS):
        logs = outcome.logs.encode()
        told["logs"] = logs[-_MAX_TEXT_BYTES:].decode(errors="ignore")
        told["logs_truncated"] = len(logs) > _MAX_TEXT_BYTES
    return told


def repair_history_json(run: JobRun, now: float) -> Sequence[Json]:
    """The first item is the run itself, which has no repair id."""
    return [_round_json(run, number, round_, now) for number, round_ in enumerate(run.rounds, start=1)]


def _round_json(run: JobRun, number: int, round_: Round, now: float) -> Json:
    is_over = now >= round_.ends_at
    state = "TERMINATED" if is_over else run.state(now)
    return {
        "type": "ORIGINAL" if round_.repair_id is None else "REPAIR",
        **({} if round_.repair_id is None else {"id": round_.repair_id}),
        "start_time": milliseconds(round_.started_at),
        "end_time": milliseconds(round_.ends_at) if is_over else 0,
        **status_json(state, run.outcome(number)),
        "task_run_ids": [each.run_id for each in round_.task_runs if each.created_at <= now],
    }


def job_json(job_id: int, plan: JobPlan, created_at: float) -> Json:
    """With all tasks and parameters in its settings."""
    settings = plan.settings_json() | {"tasks": [task.as_json() for task in plan.tasks]}
    if plan.parameters:
        settings["parameters"] = [{"name": name, "default": value} for name, value in plan.parameters.items()]
    return {
        "job_id": job_id,
        "creator_user_name": "owner@example.com",
        "run_as_user_name": "owner@example.com",
        "created_time": milliseconds(created_at),
        "settings": settings,
    }


def cluster_id(task_run_id: int) -> str:
    return f"0101-000000-{task_run_id}"
