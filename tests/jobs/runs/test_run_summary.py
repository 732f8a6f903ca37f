"""What a list says of a run, in old and new forms of its state."""

from __future__ import annotations

from typing import Any

import pytest

from app.jobs.runs.run_summary import newer_run, run_summary


def run(start: int, state: str, code: str = "") -> dict[str, Any]:
    return {"run_id": start, "start_time": start, "status": {"state": state, "termination_details": {"code": code}}}


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], ""),
        ([(5, "TERMINATED", "SUCCESS"), (1, "RUNNING", "")], ""),
        ([(7, "TERMINATED", "SUCCESS"), (8, "TERMINATED", "DRIVER_ERROR")], "green"),
        ([(8, "QUEUED", ""), (7, "TERMINATED", "SUCCESS")], "active"),
        ([(8, "TERMINATED", "DRIVER_ERROR")], "failed"),
        ([(8, "TERMINATED", "MAX_CONCURRENT_RUNS_EXCEEDED"), (9, "TERMINATED", "SKIPPED")], ""),
    ],
)
def test_what_became_of_newer_runs_depends_on_no_order(others: list[tuple[int, str, str]], expected: str) -> None:
    runs = [run_summary(run(*each)) for each in others]
    this = run_summary(run(5, "TERMINATED", "DRIVER_ERROR"))
    assert newer_run(this, runs) == newer_run(this, runs[::-1]) == expected


@pytest.mark.parametrize(
    ("told", "failed", "succeeded"),
    [
        (run(5, "WAITING"), False, False),
        (run(5, "TERMINATING", "DRIVER_ERROR"), False, False),
        (run(5, "TERMINATED", "SUCCESS_WITH_FAILURES"), False, True),
        (run(5, "TERMINATED", "SOMETHING_NEW"), True, False),
        ({"start_time": 5, "state": {"life_cycle_state": "WAITING_FOR_RETRY"}}, False, False),
        ({"start_time": 5, "state": {"life_cycle_state": "INTERNAL_ERROR", "result_state": "FAILED"}}, True, False),
        ({"start_time": 5, "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"}}, False, True),
        ({"state": {"life_cycle_state": "SKIPPED"}}, True, False),
        ({"run_id": "7", "start_time": None, "state": [], "status": "?", "trigger_info": []}, False, False),
    ],
)
def test_a_run_has_ended_in_old_forms_and_new(told: dict[str, Any], failed: bool, succeeded: bool) -> None:
    summary = run_summary(told)
    assert (summary.failed, summary.succeeded) == (failed, succeeded)
