"""Bodies of the job notifications' webhook, as they are documented, as they were seen, and as anybody may send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.runs.job_notification import MAX_BODY_BYTES, JobNotification, job_notification

OF_JOB = {
    "event_type": "jobs.on_failure",
    "workspace_id": "12345",
    "run": {"run_id": "990011223344"},
    "job": {"job_id": "516892700102118", "name": "nightly"},
}
OF_TASK = OF_JOB | {"run": {"run_id": "5", "parent_run_id": "990011223344"}, "task": {"task_key": "load"}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (OF_JOB, JobNotification("jobs.on_failure", 516892700102118, 990011223344)),
        (OF_TASK, JobNotification("jobs.on_failure", 516892700102118, 990011223344)),
        ({"event_type": "jobs.on_failure", "run_id": 100, "job_id": 7}, JobNotification("jobs.on_failure", 7, 100)),
        ({"run": {"run_id": 9007199254740993}}, JobNotification("", 0, 9007199254740993)),
        (OF_JOB | {"event_type": ["x"], "job": "nightly"}, JobNotification("", 0, 990011223344)),
        (OF_JOB | {"event_type": "x" * 5000}, JobNotification("x" * 100, 516892700102118, 990011223344)),
        ({}, None),
        ([OF_JOB], None),
        ("990011223344", None),
        (OF_JOB | {"run": {"run_id": "../../5"}}, None),
        (OF_JOB | {"run": {"run_id": "٣"}}, None),
        (OF_JOB | {"run": {"run_id": -5}}, None),
        (OF_JOB | {"run": {"run_id": True}}, None),
        (OF_JOB | {"run": {"run_id": "9" * 19}}, None),
        (OF_JOB | {"run": {"run_id": "9" * 5000}}, None),
        (OF_JOB | {"run": None, "padding": "x" * MAX_BODY_BYTES}, None),
        (OF_JOB | {"padding": "x" * MAX_BODY_BYTES}, None),
    ],
)
def test_a_notification_names_the_run_to_look_at_or_nothing(body: Any, expected: JobNotification | None) -> None:
    assert job_notification(json.dumps(body).encode()) == expected


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"{", b"[" * 60_000, b'{"run":{"run_id":' + b"9" * 5000 + b"}}"])
def test_what_is_no_json_is_no_notification(body: bytes) -> None:
    assert job_notification(body) is None


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    job_notification(body)
