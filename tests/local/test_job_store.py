"""Whatever is asked of the stand-in's jobs in whatever order, the rules of the service hold."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.local.job_plans import SUCCESS, JobPlan, TaskPlan, failure, in_turn
from app.local.job_run_json import repair_history_json, run_json
from app.local.job_store import JobStore
from app.local.stand_in_replies import RefusedRequestError

STEPS = st.tuples(st.sampled_from(["start", "cancel", "repair", "wait"]), st.integers(0, 200))
TASKS = (
    TaskPlan("load", in_turn(failure("x"), SUCCESS), max_retries=1, retry_pause_seconds=20),
    TaskPlan("check", in_turn(failure("y")), depends_on=("load",)),
    TaskPlan("tell", depends_on=("check",), run_if="ALL_DONE"),
)


@example([("start", 0), ("start", 0), ("cancel", 1), ("repair", 0), ("wait", 185)], 1, False, 0, 0.0)
@settings(max_examples=60)
@given(st.lists(STEPS, max_size=25), st.integers(1, 3), st.booleans(), st.integers(0, 2), st.sampled_from([0.0, 15.0]))
def test_runs_keep_the_rules_of_the_service(
    steps: list[tuple[str, int]], at_once: int, is_queued: bool, retries: int, termination: float
) -> None:
    now = 1_000_000.0
    store = JobStore(lambda: now, termination_seconds=termination)
    job = store.add(JobPlan("job", TASKS, max_concurrent_runs=at_once, is_queued=is_queued, max_retries=retries))
    repaired: set[int] = set()
    for step, number in steps:
        runs = list(store.runs_by_start())
        chosen = runs[number % len(runs)] if runs else None
        if step == "start":
            store.start(job)
        elif step == "wait":
            now += number
        elif chosen is not None and step == "cancel":
            store.cancel(chosen.run_id)
            assert chosen.state(now + termination) == "TERMINATED"
        elif chosen is not None:
            latest = chosen.rounds[-1].repair_id if chosen.rounds else None
            was_active = chosen.is_active(now)
            try:
                store.repair(chosen.run_id, failed_tasks=True, latest_repair_id=latest)
            except RefusedRequestError:
                assert was_active or chosen.outcome().succeeded or not chosen.rounds
            else:
                assert not was_active
                repaired.add(chosen.run_id)
        _check(store, now, at_once, repaired)
    now += 100_000
    assert not any(run.is_active(now) for run in store.runs_by_start())
    _check(store, now, at_once, repaired)


def _check(store: JobStore, now: float, at_once: int, repaired: set[int]) -> None:
    runs = list(store.runs_by_start())
    assert runs == list(store.runs_by_start(newest_first=False))[::-1]
    begun = [run for run in runs if run.state(now) in {"PENDING", "RUNNING"} and run.run_id not in repaired]
    assert len(begun) <= at_once
    for run in runs:
        told: dict[str, Any] = run_json(run, now, workspace_url="https://x")
        ended = told["status"]["state"] == "TERMINATED"
        assert ended == bool(told["end_time"])
        tasks = told.get("tasks", [])
        assert all(task["status"]["state"] == "TERMINATED" for task in tasks) or not ended
        history = repair_history_json(run, now)
        assert sorted(each for item in history for each in item["task_run_ids"]) == sorted(
            task["run_id"] for task in tasks
        )
        keys = [(task["task_key"], task["attempt_number"]) for task in tasks]
        assert len(keys) == len(set(keys))
