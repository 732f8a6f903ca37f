"""Failed runs of the stand-in, repairs of them, and processes that end at a given step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from app.databricks.jobs_api import JobsApi
from app.jobs.repairs.job_repairs import JobRepairs
from app.jobs.repairs.repair_request import RepairRequest
from app.local.job_plans import SUCCESS, TaskPlan, failure, in_turn
from app.local.stand_in_replies import invalid_parameter
from app.storage.documents import Document, DocumentStore
from tests.fakes.job_service import JobService

FAILS = in_turn(failure("ValueError: bad"))


FAILS_ONCE = in_turn(failure("ValueError: bad"), SUCCESS)


PARAMETERS = {"batch_size": "50000", "day": "today"}


def repairs_of(jobs: JobService, documents: DocumentStore, api: JobsApi | None = None) -> JobRepairs:
    return JobRepairs(api or jobs.api, documents, workspace="w", clock=lambda: jobs.now)


def failed_run(jobs: JobService, behaviour: Any = FAILS_ONCE, **settings: Any) -> RepairRequest:
    job_id = jobs.add(TaskPlan("load", behaviour), parameters=PARAMETERS, **settings)
    run = jobs.store.start(job_id)
    jobs.now += 3600
    return RepairRequest("incident/run", run.run_id, job_id, run.rounds[-1].ends_at)


def refuses_repairs(jobs: JobService, text: str) -> None:
    def repair(*_: object, **__: object) -> int:
        raise invalid_parameter(text)

    jobs.store.repair = repair  # type: ignore[method-assign]


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Kills at the given step: each call is a step before it is made, and one after it."""

    def __init__(self, step: int) -> None:
        self.left = step

    async def around(self, call: Awaitable[Any]) -> Any:
        self._burn(call)
        result = await call
        self._burn()
        return result

    def _burn(self, call: Awaitable[Any] | None = None) -> None:
        self.left -= 1
        if self.left == 0:
            if asyncio.iscoroutine(call):
                call.close()
            raise Killed


class FusedDocuments:
    def __init__(self, documents: DocumentStore, fuse: Fuse) -> None:
        self._documents, self._fuse = documents, fuse

    async def put(self, document: Document) -> Document:
        written: Document = await self._fuse.around(self._documents.put(document))
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)


class FusedApi:
    def __init__(self, api: JobsApi, fuse: Fuse) -> None:
        self._api, self._fuse = api, fuse

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._api, name)
        if name in {"jobs", "runs"}:
            return call  # pages, which change nothing
        return lambda *args, **named: self._fuse.around(call(*args, **named))
