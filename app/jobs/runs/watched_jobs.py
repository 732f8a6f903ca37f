"""Which jobs are watched, and their settings of today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.common.concurrency import gather_or_cancel
from app.common.json_values import count, mapping, text
from app.databricks.jobs_api import JobsApi
from app.databricks.workspace_errors import WorkspaceNotFoundError, WorkspacePermissionError, WorkspaceRequestError
from app.jobs.job_matching import has_tag, name_matches

Json = Mapping[str, Any]

MAX_JOBS_READ_ONE_BY_ONE = 10
"""Of more jobs, the lists of the whole workspace are read instead."""
JOB_REFUSALS = (WorkspaceNotFoundError, WorkspacePermissionError, WorkspaceRequestError)
_MAX_NAME_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class JobSelection:
    """A job is watched if any of these holds, as `app.jobs.job_matching` says of `name_pattern` and `tag`; without any,
    every job that may be seen is.
    """

    ids: tuple[int, ...] = ()
    name_pattern: str = ""
    tag: str = ""

    @property
    def is_everything(self) -> bool:
        return not (self.ids or self.name_pattern or self.tag)

    @property
    def has_rule(self) -> bool:
        return bool(self.name_pattern or self.tag)

    def matches(self, job: WatchedJob) -> bool:
        if self.is_everything or job.job_id in self.ids:
            return True
        if self.name_pattern and name_matches(job.name, self.name_pattern):
            return True
        return bool(self.tag) and has_tag(job.tags, self.tag)


@dataclass(frozen=True, slots=True)
class WatchedJob:
    """`settings` are as the service tells them, in a list without tasks."""

    job_id: int
    name: str
    settings: Json
    created_ms: int = 0

    @property
    def tags(self) -> Mapping[str, str]:
        return {name: text(value) for name, value in mapping(self.settings.get("tags")).items()}


@dataclass(frozen=True, slots=True)
class WatchedJobs:
    """`ids` is None where the runs of every job count, those of deleted jobs and submitted runs among them. `notes` are
    sentences about what cannot be watched.
    """

    jobs: Mapping[int, WatchedJob]
    ids: frozenset[int] | None
    notes: tuple[str, ...] = ()

    def has(self, job_id: int) -> bool:
        return self.ids is None or job_id in self.ids


async def watched_jobs(api: JobsApi, selection: JobSelection) -> WatchedJobs:
    """Raises WorkspaceError where the list of jobs cannot be read; a single job that cannot is a note."""
    if selection.ids and not selection.has_rule and len(set(selection.ids)) <= MAX_JOBS_READ_ONE_BY_ONE:
        return await _jobs_by_id(api, tuple(dict.fromkeys(selection.ids)))
    listed = [_watched_job(job) async for job in api.jobs()]
    jobs = {job.job_id: job for job in listed if selection.matches(job)}
    if selection.is_everything:
        return WatchedJobs(jobs, None)
    missing = [_missing_note(job_id) for job_id in dict.fromkeys(selection.ids) if job_id not in jobs]
    if selection.has_rule and not jobs:
        missing.append("No job has the name or the tag that is watched.")
    return WatchedJobs(jobs, frozenset([*jobs, *selection.ids]), tuple(missing))


async def watched_job(api: JobsApi, job_id: int, selection: JobSelection) -> WatchedJobs:
    """The one job, if it is watched; raises WorkspaceError as `watched_jobs` does."""
    job = await _job(api, job_id)
    found = {job_id: job} if isinstance(job, WatchedJob) else {}
    if selection.is_everything:
        return WatchedJobs(found, None)
    is_watched = job_id in selection.ids or any(selection.matches(each) for each in found.values())
    return WatchedJobs(found, frozenset([job_id] if is_watched else []))


async def _jobs_by_id(api: JobsApi, ids: Sequence[int]) -> WatchedJobs:
    found = await gather_or_cancel(_job(api, job_id) for job_id in ids)
    jobs = {job.job_id: job for job in found if isinstance(job, WatchedJob)}
    return WatchedJobs(jobs, frozenset(ids), tuple(note for note in found if isinstance(note, str)))


async def _job(api: JobsApi, job_id: int) -> WatchedJob | str:
    try:
        job = _watched_job(await api.job(job_id))
    except WorkspacePermissionError:
        return f"Job {job_id} may not be seen by this identity: it needs the permission CAN VIEW."
    except JOB_REFUSALS:
        return _missing_note(job_id)
    return replace(job, job_id=job_id)


def _missing_note(job_id: int) -> str:
    return f"Job {job_id} was not found: it was deleted, or this identity may not see it."


def _watched_job(job: Json) -> WatchedJob:
    settings = mapping(job.get("settings"))
    name = text(settings.get("name"))[:_MAX_NAME_CHARACTERS]
    return WatchedJob(count(job.get("job_id")), name, settings, count(job.get("created_time")))
