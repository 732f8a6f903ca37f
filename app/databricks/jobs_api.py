"""Jobs API 2.2, and what explains a failed run: https://docs.databricks.com/api/workspace/jobs

Calls return the JSON as it came, as the service adds states and termination codes without notice. All raise
`app.databricks.workspace_errors.WorkspaceError`; for a run or a job that is not there, WorkspaceNotFoundError.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Literal

from app.common.json_values import count, items, mapping, text
from app.databricks.workspace_client import MAX_REPLY_BYTES, WorkspaceClient, api_path
from app.databricks.workspace_errors import (
    WorkspaceError,
    WorkspaceInterruptedError,
    WorkspaceNotFoundError,
    WorkspaceReplyError,
    WorkspaceRequestError,
    WorkspaceUnavailableError,
)

Json = Mapping[str, Any]

_JOBS = "/api/2.2/jobs"
_CLUSTERS = "/api/2.1/clusters"
_PIPELINES = "/api/2.0/pipelines"
_PERMISSIONS = "/api/2.0/permissions/jobs"

_JOBS_PER_PAGE = "100"
_RUNS_PER_PAGE = "24"
"""The documentation says less than 25."""
_EVENTS_PER_PAGE = "25"
_MAX_PAGES = 1000
_MAX_OUTPUT_BYTES = 32 * 1024 * 1024
"""Up to 5 MB of logs and 5 MB of a notebook's output, before they are escaped."""
_MAX_RUN_BYTES = 16 * 1024 * 1024
_MAX_IDEMPOTENCY_TOKEN_CHARACTERS = 64
_PAGED_SETTINGS = ("tasks", "job_clusters", "parameters", "environments")
_MISSING = re.compile(r"(?:Run|Job|Cluster) \S{1,80} does not exist|Cannot access cluster \S{1,80} that was terminated")


class UnclearOutcomeError(WorkspaceError):
    """Whether the repair, the run or the cancellation was begun is not known: read the run again before you act.
    The same holds where the task that awaits the call is cancelled.
    """


class JobsApi:
    def __init__(self, workspace: WorkspaceClient) -> None:
        self._workspace = workspace

    async def jobs(self, *, name: str = "") -> AsyncIterator[Json]:
        """The jobs that may be seen, with settings but without tasks. `name` is the whole name, in any case."""
        query = {"limit": _JOBS_PER_PAGE} | ({"name": name} if name else {})
        async for page in self._pages(f"{_JOBS}/list", query):
            for job in items(page.get("jobs")):
                yield mapping(job)

    async def job(self, job_id: int) -> Json:
        """With all of its tasks, clusters, parameters and environments."""
        whole: dict[str, Any] = {}
        settings: dict[str, Any] = {}
        async for page in self._pages(f"{_JOBS}/get", {"job_id": str(job_id)}):
            _add_page(whole, page, ())
            _add_page(settings, mapping(page.get("settings")), _PAGED_SETTINGS)
        return whole | {"settings": settings}

    async def runs(
        self,
        *,
        job_id: int | None = None,
        only: Literal["active", "completed", ""] = "",
        run_type: str = "",
        start_time_from_ms: int | None = None,
        start_time_to_ms: int | None = None,
    ) -> AsyncGenerator[Json, None]:
        """Without tasks, in no order to be relied on; the time limits are of the start. A run that comes or ends
        meanwhile may be missing or told twice.
        """
        query = {"limit": _RUNS_PER_PAGE} | ({f"{only}_only": "true"} if only else {})
        query |= {"run_type": run_type} if run_type else {}
        numbers = {"job_id": job_id, "start_time_from": start_time_from_ms, "start_time_to": start_time_to_ms}
        query |= {key: str(value) for key, value in numbers.items() if value is not None}
        async for page in self._pages(f"{_JOBS}/runs/list", query):
            for run in items(page.get("runs")):
                yield mapping(run)

    async def run(self, run_id: int) -> Json:
        """With the repair history, resolved parameter values, and every attempt of all its tasks. That of a for-each
        task has all its `iterations`.
        """
        whole: dict[str, Any] = {}
        query = {"run_id": str(run_id), "include_history": "true", "include_resolved_values": "true"}
        async for page in self._pages(f"{_JOBS}/runs/get", query, max_reply_bytes=_MAX_RUN_BYTES):
            # The pages of a for-each task repeat its task.
            tasks = () if whole.get("iterations") else ("tasks",)
            _add_page(whole, page, (*tasks, "iterations", "job_clusters", "job_parameters", "repair_history"))
        return whole

    async def output(self, task_run_id: int) -> Json:
        """Of the run of a task, a for-each iteration or a submitted run. The run of a job refuses it with
        WorkspaceRequestError, even where it has one task.
        """
        return await self._get(
            f"{_JOBS}/runs/get-output", {"run_id": str(task_run_id)}, max_reply_bytes=_MAX_OUTPUT_BYTES
        )

    async def cluster(self, cluster_id: str) -> Json:
        """With `termination_reason` where it has ended."""
        return await self._get(f"{_CLUSTERS}/get", {"cluster_id": cluster_id})

    async def pipeline_errors(self, pipeline_id: str, *, limit: int = 25) -> Sequence[Json]:
        """The events of level ERROR in the pipeline's log, at most `limit`. No ordering is asked for, which the
        service refuses beside a page token.
        """
        path = api_path(_PIPELINES, pipeline_id, "events")
        size = {"max_results": _EVENTS_PER_PAGE}
        errors: list[Json] = []
        async for page in self._pages(path, size | {"filter": "level='ERROR'"}, next_query=size):
            errors += map(mapping, items(page.get("events")))
            if len(errors) >= limit:
                break
        return errors[:limit]

    async def permissions(self, job_id: int) -> Json:
        """Who may do what with the job, groups and inherited permissions among them."""
        return await self._get(api_path(_PERMISSIONS, str(job_id)), {})

    async def repair_run(
        self,
        run_id: int,
        *,
        tasks: Sequence[str] = (),
        job_parameters: Mapping[str, str] | None = None,
        latest_repair_id: int | None = None,
        performance_target: str = "",
    ) -> int:
        """The id of the repair: of all failed tasks, or of `tasks` and what depends on them.

        The job parameters of the run do not carry over: those not given get the job's defaults of today.
        `latest_repair_id` is needed once the run was repaired, and refused where it is not the latest. There is no
        idempotency token, so a repair that may have been begun is not asked for again.
        Raises UnclearOutcomeError besides WorkspaceError.
        """
        body: dict[str, Any] = {"run_id": run_id}
        # Beside all failed tasks, those that depend on them would run again even where they had succeeded.
        body |= (
            {"rerun_tasks": list(tasks), "rerun_dependent_tasks": True} if tasks else {"rerun_all_failed_tasks": True}
        )
        body |= {"job_parameters": dict(job_parameters)} if job_parameters else {}
        body |= {} if latest_repair_id is None else {"latest_repair_id": latest_repair_id}
        body |= {"performance_target": performance_target} if performance_target else {}
        return _id(await self._act("runs/repair", body, idempotent=False), "repair_id")

    async def run_now(
        self,
        job_id: int,
        *,
        idempotency_token: str,
        job_parameters: Mapping[str, str] | None = None,
        performance_target: str = "",
    ) -> int:
        """The id of the run. A token that is known gives the run it began before, even if that failed.

        Raises UnclearOutcomeError besides WorkspaceError: ask again with the same token. ValueError for a token that is
        empty or longer than 64 characters.
        """
        if not 0 < len(idempotency_token) <= _MAX_IDEMPOTENCY_TOKEN_CHARACTERS:
            raise ValueError("An idempotency token has 1 to 64 characters.")
        body: dict[str, Any] = {"job_id": job_id, "idempotency_token": idempotency_token}
        body |= {"job_parameters": dict(job_parameters)} if job_parameters else {}
        body |= {"performance_target": performance_target} if performance_target else {}
        return _id(await self._act("run-now", body, idempotent=True), "run_id")

    async def cancel_run(self, run_id: int) -> None:
        """Asks for it: the run ends some time after. Raises UnclearOutcomeError besides WorkspaceError."""
        await self._act("runs/cancel", {"run_id": run_id}, idempotent=True)

    async def _get(self, path: str, query: Mapping[str, str], max_reply_bytes: int = MAX_REPLY_BYTES) -> Json:
        return await _asked(self._workspace.request("GET", path, query=query, max_reply_bytes=max_reply_bytes))

    async def _pages(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        next_query: Mapping[str, str] | None = None,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> AsyncIterator[Json]:
        """Every page, or WorkspaceReplyError: a part would be taken for the whole."""
        seen: set[str] = set()
        token = ""
        while True:
            asked = {**(query if next_query is None else next_query), "page_token": token} if token else query
            page = await self._get(path, asked, max_reply_bytes=max_reply_bytes)
            yield page
            token = text(page.get("next_page_token"))
            if not token:
                return
            if token in seen or len(seen) == _MAX_PAGES:
                raise WorkspaceReplyError(f"GET {path}: the pages have no end")
            seen.add(token)

    async def _act(self, call: str, body: Json, *, idempotent: bool) -> Json:
        path = f"{_JOBS}/{call}"
        try:
            return await _asked(self._workspace.request("POST", path, json_body=body, idempotent=idempotent))
        except (WorkspaceUnavailableError, WorkspaceInterruptedError, WorkspaceReplyError) as error:
            raise UnclearOutcomeError(str(error), error.reply) from error


async def _asked(request: Awaitable[Json]) -> Json:
    """What is missing, or gone for long, is 404 in some calls and 400 in others."""
    try:
        return await request
    except WorkspaceRequestError as error:
        if _MISSING.match(error.detail):
            raise WorkspaceNotFoundError(str(error), error.reply) from error
        raise


def _id(answer: Json, name: str) -> int:
    number = count(answer.get(name))
    if not number:
        raise UnclearOutcomeError(f"The answer has no {name}")
    return number


def _add_page(whole: dict[str, Any], page: Json, arrays: Sequence[str]) -> None:
    more = {name: [*items(whole.get(name)), *items(page.get(name))] for name in arrays if name in page}
    rest = {} if whole else {name: value for name, value in page.items() if name != "next_page_token"}
    whole.update(rest | more)
