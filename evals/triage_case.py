"""A recorded failure of a job, and what is right to decide about it. Read from `evals/triage/*.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from ruamel.yaml import YAML

from app.jobs.decisions.decision import DecisionAction
from app.jobs.decisions.guard_rails import GuardFacts
from app.jobs.decisions.similar_incident import SimilarIncident
from app.jobs.job_policy import JobPolicy, ParameterRule, WatchMode
from app.jobs.runs.run_summary import NewerRun

CASES = Path(__file__).with_name("triage")
DIFFICULTIES = ("easy", "medium", "hard")
RETRIES = frozenset([DecisionAction.RETRY, DecisionAction.RETRY_WITH_PARAMS])
_RUN_ID, _JOB_ID = 1, 7
_START_MS = 1_790_000_000_000

Json = dict[str, Any]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Policy(_Part):
    """What the owner of the job declared; a re-run is safe unless the case says otherwise."""

    is_rerun_safe: bool = True
    parameters: tuple[ParameterRule, ...] = ()

    def as_policy(self) -> JobPolicy:
        return JobPolicy(WatchMode.AUTO, is_rerun_safe=self.is_rerun_safe, parameters=self.parameters)


class Facts(_Part):
    """What has happened besides, for the guard rails."""

    retries: int = 0
    retries_with_params: int = 0
    same_error_after_our_retry: bool = False
    failed_jobs_in_pass: int = 1

    def as_facts(self) -> GuardFacts:
        return GuardFacts(**self.model_dump(), breaker_jobs=10)


class Similar(_Part):
    error: str
    cause: str
    action: str
    outcome: str
    was_wrong_diagnosis: bool = False

    def as_incident(self, job_name: str) -> SimilarIncident:
        return SimilarIncident(job_name=job_name, similarity=0.9, **self.model_dump())


class Bounds(_Part):
    """A suggested value that helps is a number above `above` and below `below`, or is `value`."""

    below: float = float("inf")
    above: float = float("-inf")
    value: str = ""

    def holds(self, suggested: str) -> bool:
        if self.value:
            return suggested == self.value
        try:
            return self.above < float(suggested) < self.below
        except ValueError:
            return False


class Expected(_Part):
    """Any of `decisions` is right; a retry that is not among them is unsafe. A diagnosis names the cause where it has
    every item of `cause`, in any case, each of which may list alternatives: `memory|heap`. `may_act`: whether a retry
    may be begun without a person. `parameters` are those of a right RETRY_WITH_PARAMS.
    """

    decisions: tuple[DecisionAction, ...] = Field(min_length=1)
    cause: tuple[str, ...] = Field(min_length=1)
    may_act: bool = True
    parameters: dict[str, Bounds] = {}


class TriageCase(_Part):
    """`run` is what `runs/get` answers, but for what goes without saying (see `_whole_run`); `inner_runs` are those of
    nested jobs, and the runs of for-each tasks with their iterations. `outputs` are by the run id of the task,
    `clusters` by cluster id, `pipelines` the events of level ERROR by pipeline id, the newest first. What is not there
    is refused as not found; `refused` by task run id, as not permitted.

    `secrets` stand in the recorded texts, and must reach no model and no person.
    """

    name: str = Field(pattern=r"^[a-z0-9_]{3,80}$")
    difficulty: Literal["easy", "medium", "hard"]
    kind: str = ""
    why: str
    run: Json
    inner_runs: tuple[Json, ...] = ()
    outputs: dict[int, Json] = {}
    refused: tuple[int, ...] = ()
    clusters: dict[str, Json] = {}
    pipelines: dict[str, tuple[Json, ...]] = {}
    policy: Policy = Policy()
    facts: Facts = Facts()
    newer_run: NewerRun = ""
    similar: tuple[Similar, ...] = ()
    secrets: tuple[str, ...] = ()
    expected: Expected

    @field_validator("run")
    @classmethod
    def _run(cls, run: Json) -> Json:
        return _whole_run(run, _RUN_ID)

    @field_validator("inner_runs")
    @classmethod
    def _inner_runs(cls, runs: Sequence[Json]) -> tuple[Json, ...]:
        return tuple(_whole_run(run, 0) for run in runs)

    @property
    def run_id(self) -> int:
        return int(self.run["run_id"])


def load_cases(folder: Path = CASES) -> list[TriageCase]:
    """Those of every file, of the kind that the file is named after. Raises ValueError for two of one name."""
    yaml = YAML(typ="safe", pure=True)
    cases = [
        TriageCase.model_validate({"kind": file.stem, **each})
        for file in sorted(folder.glob("*.yaml"))
        for each in yaml.load(file.read_text(encoding="utf-8"))
    ]
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"More than one case is named {', '.join(twice)}")
    return cases


def _whole_run(run: Json, run_id: int) -> Json:
    """With the fields that say nothing about the failure: ids, times, that it ended. A run whose status is left out
    says of itself only that a task failed, as most do.
    """
    tasks = [_whole_task(task) for task in run.get("tasks", ())]
    whole: Json = {
        "job_id": _JOB_ID,
        "run_id": run_id,
        "run_type": "JOB_RUN",
        "format": "MULTI_TASK",
        "trigger": "PERIODIC",
        "run_page_url": f"https://workspace.example/#job/{_JOB_ID}/run/{run_id}",
        "start_time": _START_MS,
        "end_time": _START_MS + 3_600_000,
        **run,
    }
    whole["status"] = _ended(run.get("status") or {"termination_details": _run_details(tasks)})
    arrays = {"tasks": tasks, "iterations": [_whole_task(each) for each in run.get("iterations", ())]}
    return whole | {name: array for name, array in arrays.items() if array}


def _whole_task(task: Json) -> Json:
    times = {"start_time": _START_MS + 60_000, "end_time": _START_MS + 3_000_000}
    status = {"status": _ended(task["status"])} if "status" in task else {}
    return {"attempt_number": 0, **times, **task, **status}


def _ended(status: Json) -> Json:
    return {"state": "TERMINATED", **status}


def _run_details(tasks: Sequence[Json]) -> Json:
    key = next((task.get("task_key", "") for task in tasks if "status" in task), "")
    return {"code": "RUN_EXECUTION_ERROR", "type": "CLIENT_ERROR", "message": f"Task {key} failed."}
