"""Whether a job was edited since a run of it began."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from app.jobs.runs.job_edits import definition, was_edited
from app.jobs.runs.run_evidence import RunEvidence
from app.local.job_plans import SUCCESS, JobPlan, TaskPlan, failure, in_turn
from tests.fakes.job_service import job_service

BROKEN = failure("ValueError: bad row")
LOAD = TaskPlan("load", in_turn(BROKEN))
PLAN = JobPlan("nightly", (TaskPlan("extract"), replace(LOAD, depends_on=("extract",))), {"batch_size": "500"})
OTHER_NOTEBOOK = {"notebook_task": {"notebook_path": "/jobs/other"}}


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        (PLAN, False),
        (replace(PLAN, name="weekly", tags={"team": "data"}), False),
        (replace(PLAN, tasks=(TaskPlan("extract"), LOAD)), True),
        (replace(PLAN, tasks=(TaskPlan("extract"), replace(PLAN.tasks[1], definition=OTHER_NOTEBOOK))), True),
        (replace(PLAN, tasks=(*PLAN.tasks, TaskPlan("report"))), True),
        (replace(PLAN, parameters={"batch_size": "100"}), True),
        (replace(PLAN, parameters={"batch_size": "500", "day": ""}), True),
        (replace(PLAN, parameters={}), True),
    ],
)
async def test_the_settings_of_today_are_compared_with_those_of_the_run(edited: JobPlan, expected: bool) -> None:
    async with job_service() as jobs:
        job = jobs.store.add(PLAN)
        run_id = jobs.store.start(job, {"batch_size": "9", "only here": "x"}).run_id
        jobs.now += 3600
        jobs.store.edit(job, edited)
        evidence = RunEvidence(jobs.api, "main")
        found = await evidence.failure(run_id)
        assert found is not None
        assert (await evidence.with_edits(found)).was_edited_since is expected
        jobs.store.delete(job)
        assert await evidence.with_edits(found) == found


async def test_what_a_run_adds_to_its_tasks_is_no_edit() -> None:
    async with job_service() as jobs:
        child = jobs.add(TaskPlan("inner"), name="child")
        tasks = (
            replace(LOAD, iterations=(in_turn(BROKEN), in_turn(SUCCESS))),
            TaskPlan("nested", job_id=child),
            TaskPlan("again", in_turn(BROKEN), max_retries=1),
        )
        run_id = jobs.run(*tasks)
        await jobs.api.repair_run(run_id)
        jobs.now += 3600
        evidence = RunEvidence(jobs.api, "main")
        found = await evidence.failure(run_id)
        assert found is not None
        assert not (await evidence.with_edits(found)).was_edited_since


NOTEBOOK = {"notebook_path": "/a", "source": "WORKSPACE", "base_parameters": {"x": "1"}}
SETTINGS = {
    "tasks": [{"task_key": "load", "notebook_task": NOTEBOOK, "job_cluster_key": "main", "timeout_seconds": 0}],
    "job_clusters": [{"job_cluster_key": "main", "new_cluster": {"num_workers": 2, "spark_version": "17.3.x"}}],
    "git_source": {"git_url": "https://git.example/x", "git_branch": "main"},
}
RUN = {
    "tasks": [{"task_key": "load", "notebook_task": NOTEBOOK, "job_cluster_key": "main", "state": {}, "run_if": "ALL"}],
    "job_clusters": [{"job_cluster_key": "main", "new_cluster": {"num_workers": 2, "availability": "SPOT"}}],
    "git_source": {"git_url": "https://git.example/x", "git_branch": "main", "git_snapshot": {"used_commit": "1"}},
}


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("tasks", 0, "timeout_seconds"), 60, False),
        (("tasks", 0, "notebook_task", "source"), None, False),
        (("tasks", 0, "notebook_task", "notebook_path"), "/b", True),
        (("tasks", 0, "notebook_task", "base_parameters"), {"x": "1", "y": "2"}, True),
        (("tasks", 0, "notebook_task", "base_parameters"), {}, True),
        (("tasks", 0, "notebook_task"), "?", True),
        (("tasks", 0, "sql_task"), {}, True),
        (("job_clusters", 0, "new_cluster", "num_workers"), 8, True),
        (("job_clusters", 0, "new_cluster", "spark_version"), "18", False),
        (("git_source", "git_branch"), "dev", True),
        (("git_source",), [], False),
        (("tasks",), None, True),
    ],
)
def test_only_what_both_tell_is_compared(path: tuple[Any, ...], value: Any, expected: bool) -> None:
    settings: Any = deepcopy(SETTINGS)
    assert not was_edited(definition(RUN), settings)
    place = settings
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert was_edited(definition(RUN), settings) is expected
