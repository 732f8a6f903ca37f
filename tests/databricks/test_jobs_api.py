"""What the Jobs API is asked, how its pages become one answer, and when an action's outcome is not known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.databricks.jobs_api import JobsApi, UnclearOutcomeError
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceNotFoundError,
    WorkspacePermissionError,
    WorkspaceReplyError,
    WorkspaceRequestError,
    WorkspaceUnreachableError,
)
from tests.fakes.workspace_api import ApiReply, Disturbance, WorkspaceApi
from tests.fakes.workspaces import workspace_at

BUSY = ApiReply(429, {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"}, {"Retry-After": "1"})
AWAY = ApiReply(503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "soon"})
GONE = ApiReply(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Run 7 does not exist."})
LOCKED = "The latest repair ID needs to be provided in order to create a new repair"


async def at_once(_: float) -> None:
    await asyncio.sleep(0)


@asynccontextmanager
async def jobs_and_service(*replies: ApiReply | Disturbance) -> AsyncIterator[tuple[JobsApi, WorkspaceApi]]:
    async with WorkspaceApi() as service, workspace_at(service.url, sleep=at_once) as workspace:
        service.replies.extend(replies)
        yield JobsApi(workspace), service


def asked(service: WorkspaceApi) -> list[str]:
    return [f"{request.method} {request.path_and_query}" for request in service.requests]


async def test_all_pages_of_the_runs_are_read_with_the_same_filters() -> None:
    pages = ({"runs": [{"run_id": 3}], "next_page_token": "t"}, {"runs": [{"run_id": 2}]})
    async with jobs_and_service(*(ApiReply(body=page) for page in pages)) as (jobs, service):
        found = [run["run_id"] async for run in jobs.runs(only="completed", job_id=5, start_time_from_ms=9)]
    first = "GET /api/2.2/jobs/runs/list?limit=24&completed_only=true&job_id=5&start_time_from=9"
    assert (found, asked(service)) == ([3, 2], [first, f"{first}&page_token=t"])


@pytest.mark.parametrize("array", ["tasks", "iterations"])
async def test_a_run_of_many_pages_is_one_run(array: str) -> None:
    one_task = {"tasks": [{"task_key": "each"}]} if array == "iterations" else {}
    pages: list[dict[str, Any]] = [
        one_task | {array: [{"run_id": 1}], "repair_history": [{"type": "ORIGINAL"}], "next_page_token": "a"},
        one_task | {array: [{"run_id": 2}], "next_page_token": "b"},
        one_task | {array: [{"run_id": 3}], "repair_history": [{"type": "REPAIR"}]},
    ]
    async with jobs_and_service(*(ApiReply(body={"run_id": 7} | page) for page in pages)) as (jobs, _):
        run = await jobs.run(7)
    assert run == {
        "run_id": 7,
        **one_task,
        array: [{"run_id": 1}, {"run_id": 2}, {"run_id": 3}],
        "repair_history": [{"type": "ORIGINAL"}, {"type": "REPAIR"}],
    }


async def test_a_job_of_many_pages_is_one_job() -> None:
    pages = [
        {"job_id": 5, "settings": {"name": "n", "tasks": [{"task_key": "a"}]}, "next_page_token": "t"},
        {"job_id": 5, "settings": {"name": "n", "tasks": [{"task_key": "b"}]}},
    ]
    async with jobs_and_service(*(ApiReply(body=page) for page in pages)) as (jobs, _):
        job = await jobs.job(5)
    assert job == {"job_id": 5, "settings": {"name": "n", "tasks": [{"task_key": "a"}, {"task_key": "b"}]}}


async def test_pages_that_lead_in_a_circle_are_an_error() -> None:
    circle = ApiReply(body={"runs": [], "next_page_token": "t"})
    async with jobs_and_service(circle, circle) as (jobs, _):
        with pytest.raises(WorkspaceReplyError):
            _ = [run async for run in jobs.runs()]


async def test_a_page_token_of_pipeline_events_stands_alone() -> None:
    pages = ({"events": [{"id": "1"}], "next_page_token": "t"}, {"events": [{"id": "2"}]})
    async with jobs_and_service(*(ApiReply(body=page) for page in pages)) as (jobs, service):
        errors = await jobs.pipeline_errors("p/1")
    path = "GET /api/2.0/pipelines/p%2F1/events?max_results=25"
    assert [error["id"] for error in errors] == ["1", "2"]
    assert asked(service) == [f"{path}&filter=level%3D'ERROR'", f"{path}&page_token=t"]


async def test_a_missing_run_is_not_found_though_the_service_answers_400() -> None:
    refused = ApiReply(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Retrieving the output is refused"})
    async with jobs_and_service(GONE, GONE, refused) as (jobs, _):
        with pytest.raises(WorkspaceNotFoundError):
            await jobs.run(7)
        with pytest.raises(WorkspaceNotFoundError):
            await jobs.repair_run(7)
        with pytest.raises(WorkspaceRequestError):
            await jobs.output(7)


async def test_a_repair_sends_the_parameters_the_lock_and_the_tasks() -> None:
    answer = ApiReply(body={"repair_id": 42})
    async with jobs_and_service(answer, answer) as (jobs, service):
        assert await jobs.repair_run(7) == 42
        await jobs.repair_run(7, tasks=["a"], job_parameters={"n": "1"}, latest_repair_id=0, performance_target="X")
    assert [request.body for request in service.requests] == [
        {"run_id": 7, "rerun_all_failed_tasks": True},
        {
            "run_id": 7,
            "rerun_tasks": ["a"],
            "rerun_dependent_tasks": True,
            "job_parameters": {"n": "1"},
            "latest_repair_id": 0,
            "performance_target": "X",
        },
    ]


_FORBIDDEN = ApiReply(403, {"error_code": "PERMISSION_DENIED", "message": "no"})
_LOCKED = ApiReply(400, {"error_code": "INVALID_PARAMETER_VALUE", "message": LOCKED})
_PROXY = ApiReply(200, "<html>Sign in</html>")


@pytest.mark.parametrize(
    ("replies", "error", "requests"),
    [
        ([AWAY], UnclearOutcomeError, 1),
        (["cut"], UnclearOutcomeError, 1),
        (["cut body"], UnclearOutcomeError, 1),
        ([_PROXY], UnclearOutcomeError, 1),
        ([ApiReply(body={})], UnclearOutcomeError, 1),
        ([BUSY, AWAY], UnclearOutcomeError, 2),
        ([_LOCKED], WorkspaceRequestError, 1),
        ([_FORBIDDEN], WorkspacePermissionError, 1),
    ],
)
async def test_a_repair_that_may_have_begun_is_not_asked_for_again(
    replies: list[ApiReply | Disturbance], error: type[WorkspaceError], requests: int
) -> None:
    async with jobs_and_service(*replies) as (jobs, service):
        with pytest.raises(error):
            await jobs.repair_run(7)
    assert len(service.requests) == requests


async def test_a_repair_that_never_left_is_no_unclear_outcome() -> None:
    async with workspace_at("http://127.0.0.1:1", sleep=at_once) as workspace:
        with pytest.raises(WorkspaceUnreachableError):
            await JobsApi(workspace).repair_run(7)


async def test_a_run_is_asked_for_again_with_the_same_token() -> None:
    async with jobs_and_service("cut", AWAY, ApiReply(body={"run_id": 8})) as (jobs, service):
        assert await jobs.run_now(5, idempotency_token="once", job_parameters={"n": "1"}) == 8
    wanted = {"job_id": 5, "idempotency_token": "once", "job_parameters": {"n": "1"}}
    assert [request.body for request in service.requests] == [wanted] * 3


@pytest.mark.parametrize("token", ["", "x" * 65])
async def test_a_token_that_the_service_would_refuse_is_never_sent(token: str) -> None:
    async with jobs_and_service() as (jobs, service):
        with pytest.raises(ValueError, match="64"):
            await jobs.run_now(5, idempotency_token=token)
    assert not service.requests


async def test_an_output_may_have_five_megabytes_of_escaped_logs() -> None:
    logs = "\N{SNOWMAN}" * (5 * 1024 * 1024 // 3)
    async with jobs_and_service(ApiReply(body=json.dumps({"logs": logs}))) as (jobs, _):
        assert (await jobs.output(7))["logs"] == logs
