"""The stand-in Jobs API over HTTP on a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestServer

from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_client import WorkspaceClient
from app.local.job_plans import JobPlan, TaskPlan
from app.local.jobs_stand_in import JobsStandIn
from app.local.stand_in_replies import api_application
from tests.fakes.serving_endpoint import TOKEN
from tests.fakes.workspaces import workspace_at

NOON = 1_790_000_000.0


class JobService:
    """`stand_in` behind `url`, and our client of it, which does not wait between its attempts."""

    def __init__(self, jobs: Callable[[Callable[[], float]], JobsStandIn]) -> None:
        self.now = NOON
        self.stand_in = jobs(lambda: self.now)
        self.store = self.stand_in.store
        self.url = ""
        self.workspace: WorkspaceClient
        self.api: JobsApi

    def add(self, *tasks: TaskPlan, name: str = "nightly_etl", **settings: Any) -> int:
        return self.store.add(JobPlan(name, tasks, **settings))

    def run(self, *tasks: TaskPlan, **settings: Any) -> int:
        """The id of a run of a new job, which has ended an hour later."""
        run = self.store.start(self.add(*tasks, **settings))
        self.now += 3600
        return run.run_id


@asynccontextmanager
async def job_service(jobs: Callable[[Callable[[], float]], JobsStandIn] = JobsStandIn) -> AsyncIterator[JobService]:
    service = JobService(jobs)
    async with TestServer(api_application(TOKEN, [service.stand_in]), host="127.0.0.1") as server:
        service.url = f"http://127.0.0.1:{server.port}"
        async with workspace_at(service.url, sleep=lambda _: asyncio.sleep(0)) as workspace:
            service.workspace = workspace
            service.api = JobsApi(workspace)
            yield service
