"""Finds the run that is asked about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from app.common.json_values import count, mapping, text
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import WorkspaceNotFoundError, WorkspaceRequestError
from app.foundry.tools.foundry_tool import RefusedCallError
from app.foundry.tools.job_reference import JobReference
from app.jobs.clean_text import clean_line
from app.jobs.runs.run_summary import NewerRun, RunSummary, newer_run, run_summary

_MAX_RUNS = 100
_MAX_JOBS = 2_000
_MAX_NAMED = 5
_MIN_NAME_CHARACTERS = 3
_NAME = 100
_MISSING = (WorkspaceNotFoundError, WorkspaceRequestError)


@dataclass(frozen=True, slots=True)
class FoundRun:
    """Without a `run` none of the job's has failed lately; `last` is the newest that has ended. `newer` is what became
    of the runs after `run`.
    """

    job_id: int
    job_name: str
    run: RunSummary | None
    last: RunSummary | None
    newer: NewerRun = ""


class JobLookup:
    """Methods raise `RefusedCallError` where nothing of that kind may be seen, and `WorkspaceError`."""

    def __init__(self, api: JobsApi) -> None:
        self._api = api

    async def find(self, meant: JobReference) -> FoundRun:
        if meant.name and (meant.run_id or meant.job_id) and (job := await self._only_one(meant.name)):
            return await self._last_failed(count(job.get("job_id")), _name_of(job))
        if meant.run_id:
            return await self._of_run(meant.run_id)
        if meant.job_id:
            return await self._of_job(meant.job_id)
        if meant.number:
            return await self._of_number(meant.number)
        job = await self._named(meant.name)
        return await self._last_failed(count(job.get("job_id")), _name_of(job))

    async def _of_run(self, run_id: int) -> FoundRun:
        try:
            run = run_summary(await self._api.run(run_id))
        except _MISSING:
            raise RefusedCallError(f"There is no run {run_id} that this agent may see.") from None
        runs = await self._runs(run.job_id) if run.job_id else []
        return FoundRun(run.job_id, run.name, run, run, newer_run(run, runs))

    async def _of_job(self, job_id: int) -> FoundRun:
        try:
            job = await self._api.job(job_id)
        except _MISSING:
            raise RefusedCallError(f"There is no job {job_id} that this agent may see.") from None
        return await self._last_failed(job_id, _name_of(job))

    async def _of_number(self, number: int) -> FoundRun:
        try:
            job = await self._api.job(number)
        except _MISSING:
            try:
                return await self._of_run(number)
            except RefusedCallError:
                raise RefusedCallError(f"There is no job and no run {number} that this agent may see.") from None
        return await self._last_failed(number, _name_of(job))

    async def _last_failed(self, job_id: int, name: str) -> FoundRun:
        runs = await self._runs(job_id)
        ended = [run for run in runs if run.has_ended]
        failed = [run for run in ended if run.failed]
        # One that was refused while another ran says nothing of the job, unless there is nothing else.
        run = next((run for run in failed if run.ran), next(iter(failed), None))
        newer = newer_run(run, runs) if run is not None else ""
        return FoundRun(job_id, name, run, next(iter(ended), None), newer)

    async def _runs(self, job_id: int) -> list[RunSummary]:
        """The newest first."""
        found: list[RunSummary] = []
        async with aclosing(self._api.runs(job_id=job_id)) as runs:
            async for run in runs:
                found.append(run_summary(run))
                if len(found) >= _MAX_RUNS:
                    break
        return sorted(found, key=lambda run: run.started_ms, reverse=True)

    async def _named(self, name: str) -> Mapping[str, Any]:
        """The job of that name, in any case; or else the only one whose name is a part of `name`, or contains it."""
        exact = [job async for job in self._api.jobs(name=name)]
        if len(exact) == 1:
            return exact[0]
        if exact:
            raise RefusedCallError(
                f"There are {len(exact)} jobs of that name: {_listed(exact)}. Put the id of one into query."
            )
        wanted = name.casefold()
        similar = [job async for job in self._first_jobs() if _is_similar(_name_of(job).casefold(), wanted)]
        whole = [job for job in similar if _name_of(job).casefold() in wanted]
        longest = max((len(_name_of(job)) for job in whole), default=0)
        best = [job for job in whole if len(_name_of(job)) == longest] or similar
        if len(best) == 1:
            return best[0]
        if best:
            raise RefusedCallError(
                f"It is not clear which job is meant: {_listed(best)}. Put the id of one into query."
            )
        raise RefusedCallError(
            f"There is no job of the name {clean_line(name, _NAME)!r} that this agent may see. Put the job's exact "
            "name, its id or its URL into query. If it is there, its owner has to grant this agent CAN VIEW on it."
        )

    async def _only_one(self, name: str) -> Mapping[str, Any] | None:
        found = [job async for job in self._api.jobs(name=name)]
        return found[0] if len(found) == 1 else None

    async def _first_jobs(self) -> AsyncIterator[Mapping[str, Any]]:
        read = 0
        async for job in self._api.jobs():
            yield job
            read += 1
            if read >= _MAX_JOBS:
                return


def _name_of(job: Mapping[str, Any]) -> str:
    return text(mapping(job.get("settings")).get("name"))


def _is_similar(name: str, wanted: str) -> bool:
    if min(len(name), len(wanted)) < _MIN_NAME_CHARACTERS:
        return False
    return name in wanted or wanted in name


def _listed(jobs: list[Mapping[str, Any]]) -> str:
    names = [f"{clean_line(_name_of(job), _NAME)} ({count(job.get('job_id'))})" for job in jobs[:_MAX_NAMED]]
    return ", ".join(names) + (f" and {len(jobs) - _MAX_NAMED} more" if len(jobs) > _MAX_NAMED else "")
