"""Jobs API 2.2 of the stand-in workspace, with the clusters and the events of pipelines that explain a failed run."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

from aiohttp import web

from app.local.job_requests import (
    MAX_ELEMENTS,
    cursor_of,
    id_of,
    is_true,
    job_parameters,
    limit_of,
    needed_number,
    number_of,
    page_of,
    token_of,
)
from app.local.job_run_json import (
    PAGED_RUN_ARRAYS,
    cluster_id,
    job_json,
    output_json,
    repair_history_json,
    run_json,
    task_run_json,
)
from app.local.job_runs import JobRun, TaskRun
from app.local.job_store import JobStore
from app.local.stand_in_replies import RefusedRequestError, invalid_parameter, json_of, refusal

Fault = Literal["rate limited", "unavailable", "carried out, unavailable", "carried out, cut", "carried out, page"]
"""What happens to a call instead of its answer, after it was carried out or without."""

_MAX_RUNS, _MAX_JOBS = 24, 100
_MAX_TOKEN_CHARACTERS = 64
_CLUSTER_KEPT_SECONDS = 30 * 24 * 3600.0
_URL = "https://workspace.example"
_NO_PARENT_OUTPUT = (
    "Retrieving the output of runs with multiple tasks is not supported. "
    "Please retrieve the output of each individual task run instead."
)

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class JobsStandIn:
    """What tests set and look at: `order` of the lists, on which sources disagree; `faults` of the next calls by the
    end of their path, such as `runs/repair`; `delay_seconds` of each call, half of them before it is carried out;
    `calls` by the end of their path; `repairs`: the bodies of the repairs that were carried out; `pipeline_events` by
    pipeline id.
    """

    def __init__(self, clock: Callable[[], float] = time.time, *, termination_seconds: float = 0.0) -> None:
        self.store = JobStore(clock, termination_seconds=termination_seconds)
        self.order: Literal["newest first", "oldest first"] = "newest first"
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.delay_seconds = 0.0
        self.calls: Counter[str] = Counter()
        self.repairs: list[Json] = []
        self.pipeline_events: dict[str, list[Json]] = {}
        self._clock = clock

    def routes(self) -> Sequence[web.RouteDef]:
        jobs = "/api/2.2/jobs"
        gets = {
            "list": self._list_jobs,
            "get": self._get_job,
            "runs/list": self._list_runs,
            "runs/get": self._get_run,
            "runs/get-output": self._get_output,
        }
        posts = {"run-now": self._run_now, "runs/repair": self._repair, "runs/cancel": self._cancel}
        return (
            *(web.get(f"{jobs}/{name}", self._call(name, handler)) for name, handler in gets.items()),
            *(web.post(f"{jobs}/{name}", self._call(name, handler)) for name, handler in posts.items()),
            web.get("/api/2.0/permissions/jobs/{job}", self._call("permissions", self._permissions)),
            web.get("/api/2.1/clusters/get", self._call("clusters/get", self._get_cluster)),
            web.get("/api/2.0/pipelines/{pipeline}/events", self._call("pipelines/events", self._pipeline_events)),
        )

    def _call(self, name: str, handler: Handler) -> Handler:
        async def call(request: web.Request) -> web.Response:
            self.calls[name] += 1
            await asyncio.sleep(self.delay_seconds / 2)
            fault = self.faults[name].popleft() if self.faults[name] else None
            if fault == "rate limited":
                return refusal(429, "REQUEST_LIMIT_EXCEEDED", "Too many requests.", retry_after_seconds=1)
            if fault == "unavailable":
                return refusal(503, "TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable.")
            answer = await handler(request)
            await asyncio.sleep(self.delay_seconds / 2)
            if fault == "carried out, unavailable":
                return refusal(503, "TEMPORARILY_UNAVAILABLE", "The service is temporarily unavailable.")
            if fault == "carried out, page":
                return web.Response(text="<html>Sign in</html>", content_type="text/html")
            if fault == "carried out, cut" and request.transport is not None:
                request.transport.abort()
            return answer

        return call

    async def _list_jobs(self, request: web.Request) -> web.Response:
        name = request.query.get("name", "").casefold()
        start = number_of(request, "page_token") or 0
        limit = limit_of(request, _MAX_JOBS, default=20)
        found = [
            (job_id, plan)
            for job_id, plan in sorted(self.store.jobs.items(), reverse=self.order == "newest first")
            if not plan.is_hidden and not plan.is_one_time and (not name or plan.name.casefold() == name)
        ]
        jobs = []
        for job_id, plan in found[start : start + limit]:
            job = job_json(job_id, plan, self.store.created_at[job_id])
            tasks = job["settings"].pop("tasks")
            if is_true(request, "expand_tasks"):
                job["settings"]["tasks"] = tasks[:MAX_ELEMENTS]
                job["has_more"] = len(tasks) > MAX_ELEMENTS
            jobs.append(job)
        more = {"next_page_token": str(start + limit)} if start + limit < len(found) else {}
        return web.json_response({"jobs": jobs, **more})

    async def _get_job(self, request: web.Request) -> web.Response:
        job_id = needed_number(request, "job_id")
        job = job_json(job_id, self.store.job(job_id), self.store.created_at[job_id])
        page = page_of(job["settings"], ("tasks", "parameters"), request)
        token = page.pop("next_page_token", None)
        return web.json_response({**job, "settings": page} | ({"next_page_token": token} if token else {}))

    async def _list_runs(self, request: web.Request) -> web.Response:
        active, completed = is_true(request, "active_only"), is_true(request, "completed_only")
        if active and completed:
            raise invalid_parameter("active_only and completed_only cannot both be true.")
        limit = limit_of(request, _MAX_RUNS, default=20)
        found = list(islice(self._matching(request, active=active, completed=completed), limit + 1))
        runs = [self._listed(run, with_tasks=is_true(request, "expand_tasks")) for run in found[:limit]]
        more = {"next_page_token": token_of(found[limit - 1])} if len(found) > limit else {}
        return web.json_response({"runs": runs, **more})

    def _matching(self, request: web.Request, *, active: bool, completed: bool) -> Iterator[JobRun]:
        """Those after the run of the page token."""
        now, token = self._clock(), request.query.get("page_token")
        job_id, run_type = number_of(request, "job_id"), request.query.get("run_type")
        earliest, latest = number_of(request, "start_time_from"), number_of(request, "start_time_to")
        found = self.store.runs_by_start(
            newest_first=self.order == "newest first",
            job_id=job_id,
            after=cursor_of(token),
            # Starts are told in rounded milliseconds.
            earliest=-math.inf if earliest is None else (earliest - 0.5) / 1000,
            latest=math.inf if latest is None else (latest + 0.5) / 1000,
        )
        for run in found:
            is_active = run.is_active(now)
            kind = "SUBMIT_RUN" if run.plan.is_one_time else "JOB_RUN"
            if run_type in {None, kind} and not (active and not is_active) and not (completed and is_active):
                yield run

    def _listed(self, run: JobRun, *, with_tasks: bool) -> Json:
        told = self._run_json(run, with_tasks=with_tasks)
        if with_tasks and len(told.get("tasks", ())) > MAX_ELEMENTS:
            told |= {"tasks": told["tasks"][:MAX_ELEMENTS], "has_more": True}
        return told

    async def _get_run(self, request: web.Request) -> web.Response:
        run_id = needed_number(request, "run_id")
        found = self.store.task_run(run_id)
        if found is not None:
            told = task_run_json(found[0], found[1], self._clock(), workspace_url=_URL)
        else:
            run = self.store.run(run_id)
            told = self._run_json(run)
            if is_true(request, "include_history"):
                told["repair_history"] = list(repair_history_json(run, self._clock()))
        return web.json_response(page_of(told, PAGED_RUN_ARRAYS, request))

    def _run_json(self, run: JobRun, *, with_tasks: bool = True) -> Json:
        told = run_json(run, self._clock(), workspace_url=_URL, with_tasks=with_tasks)
        if self.order == "oldest first" and "tasks" in told:
            told["tasks"].reverse()
        return told

    async def _get_output(self, request: web.Request) -> web.Response:
        run_id = needed_number(request, "run_id")
        found = self.store.task_run(run_id)
        if found is None:
            self.store.run(run_id)
            raise invalid_parameter(_NO_PARENT_OUTPUT)
        return web.json_response(output_json(found[0], found[1], self._clock(), workspace_url=_URL))

    async def _run_now(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        token = str(body.get("idempotency_token") or "")
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise invalid_parameter(f"The idempotency token has more than {_MAX_TOKEN_CHARACTERS} characters.")
        run = self.store.start(id_of(body, "job_id"), job_parameters(body), token=token)
        return web.json_response({"run_id": run.run_id, "number_in_job": run.run_id})

    async def _repair(self, request: web.Request) -> web.Response:
        body = await json_of(request)
        tasks, failed = body.get("rerun_tasks") or [], bool(body.get("rerun_all_failed_tasks"))
        if bool(tasks) == failed:
            raise invalid_parameter("Exactly one of rerun_tasks and rerun_all_failed_tasks is needed.")
        repair_id = self.store.repair(
            id_of(body, "run_id"),
            tasks=tasks,
            failed_tasks=failed,
            dependent_tasks=bool(body.get("rerun_dependent_tasks")),
            parameters=job_parameters(body),
            latest_repair_id=body.get("latest_repair_id"),
        )
        self.repairs.append(body)
        return web.json_response({"repair_id": repair_id})

    async def _cancel(self, request: web.Request) -> web.Response:
        self.store.cancel(id_of(await json_of(request), "run_id"))
        return web.json_response({})

    async def _permissions(self, request: web.Request) -> web.Response:
        job_id = request.match_info["job"]
        plan = self.store.job(int(job_id) if job_id.isdecimal() else 0)
        level = [{"permission_level": "CAN_VIEW", "inherited": False}]
        users = [{"user_name": user, "display_name": user, "all_permissions": level} for user in plan.viewers]
        told = {"object_id": f"/jobs/{job_id}", "object_type": "job", "access_control_list": users}
        return web.json_response(told)

    async def _get_cluster(self, request: web.Request) -> web.Response:
        wanted = request.query.get("cluster_id", "")
        task = self._task_on(wanted)
        told: Json = {"cluster_id": wanted, "cluster_source": "JOB", "state": "RUNNING"}
        if task.state(self._clock()) == "TERMINATED":
            told |= {"state": "TERMINATED", "termination_reason": _termination_reason(task)}
        return web.json_response(told)

    def _task_on(self, cluster: str) -> TaskRun:
        number = cluster.rpartition("-")[2]
        found = self.store.task_run(int(number)) if number.isdecimal() else None
        if found is None or cluster_id(found[1].run_id) != cluster:
            raise invalid_parameter(f"Cluster {cluster} does not exist")
        if self._clock() - found[1].ends_at > _CLUSTER_KEPT_SECONDS:
            message = f"Cannot access cluster {cluster} that was terminated or unpinned more than 30 days ago."
            raise invalid_parameter(message)
        return found[1]

    async def _pipeline_events(self, request: web.Request) -> web.Response:
        pipeline, token = request.match_info["pipeline"], request.query.get("page_token")
        if pipeline not in self.pipeline_events:
            message = f"The specified pipeline {pipeline} was not found."
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", message)
        if token and {"filter", "order_by"} & request.query.keys():
            raise invalid_parameter("You can provide a page token or specify a filter or an ordering, but not both.")
        only_errors = "level='ERROR'" in (token or request.query.get("filter", ""))
        events = [each for each in self.pipeline_events[pipeline] if not only_errors or each.get("level") == "ERROR"]
        start = int(token.partition(" ")[0]) if token else 0
        size = number_of(request, "max_results") or 25
        more = {"next_page_token": f"{start + size} {'level=' + repr('ERROR') if only_errors else ''}"}
        return web.json_response(
            {"events": events[start : start + size]} | (more if start + size < len(events) else {})
        )


def _termination_reason(task: TaskRun) -> Mapping[str, Any]:
    return task.outcome.cluster_termination or {"code": "JOB_FINISHED", "type": "SUCCESS", "parameters": {}}
