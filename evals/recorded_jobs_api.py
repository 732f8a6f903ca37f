"""The calls of the Databricks API that explain a failed run, answered from a recorded failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from app.local.stand_in_replies import RefusedRequestError, invalid_parameter
from evals.triage_case import TriageCase

_NO_PARENT_OUTPUT = (
    "Retrieving the output of runs with multiple tasks is not supported. "
    "Please retrieve the output of each individual task run instead."
)


class RecordedJobsApi:
    """`case` may be replaced between two calls."""

    def __init__(self, case: TriageCase) -> None:
        self.case = case

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.get("/api/2.2/jobs/runs/get", self._run),
            web.get("/api/2.2/jobs/runs/get-output", self._output),
            web.get("/api/2.1/clusters/get", self._cluster),
            web.get("/api/2.0/pipelines/{pipeline_id}/events", self._events),
        ]

    async def _run(self, request: web.Request) -> web.Response:
        run_id = _run_id(request)
        runs = {run["run_id"]: run for run in (self.case.run, *self.case.inner_runs)}
        tasks = {task["run_id"]: task for run in runs.values() for task in run.get("tasks", ()) if "run_id" in task}
        if (found := {**tasks, **runs}.get(run_id)) is None:
            raise invalid_parameter(f"Run {run_id} does not exist.")
        return web.json_response(found)

    async def _output(self, request: web.Request) -> web.Response:
        run_id = _run_id(request)
        if run_id in self.case.refused:
            raise RefusedRequestError(403, "PERMISSION_DENIED", f"User does not have permission to view run {run_id}.")
        parents = [run["run_id"] for run in (self.case.run, *self.case.inner_runs) if run.get("tasks")]
        if run_id in parents:
            raise invalid_parameter(_NO_PARENT_OUTPUT)
        if run_id not in self.case.outputs:
            raise invalid_parameter(f"Run {run_id} does not exist.")
        return web.json_response({"metadata": {"run_id": run_id}, **self.case.outputs[run_id]})

    async def _cluster(self, request: web.Request) -> web.Response:
        cluster_id = request.query.get("cluster_id", "")
        if cluster_id not in self.case.clusters:
            raise invalid_parameter(f"Cluster {cluster_id} does not exist")
        told: dict[str, Any] = {"cluster_id": cluster_id, "state": "TERMINATED", **self.case.clusters[cluster_id]}
        return web.json_response(told)

    async def _events(self, request: web.Request) -> web.Response:
        pipeline_id = request.match_info["pipeline_id"]
        if pipeline_id not in self.case.pipelines:
            raise RefusedRequestError(404, "RESOURCE_DOES_NOT_EXIST", f"The pipeline {pipeline_id} was not found.")
        return web.json_response({"events": list(self.case.pipelines[pipeline_id])})


def _run_id(request: web.Request) -> int:
    given = request.query.get("run_id", "")
    if not given.isdecimal() or len(given) > 19:
        raise invalid_parameter("Missing required field: run_id")
    return int(given)
