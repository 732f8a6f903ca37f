"""Records of the history, with whatever a failed job may say."""

from __future__ import annotations

from app.jobs.history.decision_record import DecisionRecord
from app.jobs.history.decision_records import record_key

NOON = 1_795_780_800.0
"""2026-11-27T12:00:00Z"""
WORKSPACE = "https://adb-1.azuredatabricks.net"
OUT_OF_MEMORY = "java.lang.OutOfMemoryError: Java heap space in stage 12.0 (TID 34)"
NASTY_TEXTS = (
    '=HYPERLINK("http://evil")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(A1)",
    "-2+3",
    "\t=1",
    "\r=1",
    " =1",
    'a, "quoted"\r\nline\nbreak',
    "Zürich 東京 🚀 \u2028 \ud800",
    "</script><script>alert(1)</script>",
    "",
    "-5",
)


def a_record(run_id: int = 456, ended_at_seconds: float = NOON, **changes: str | int) -> DecisionRecord:
    fields: dict[str, str | int] = {
        "key": record_key(ended_at_seconds, f"{run_id}-{ended_at_seconds * 1000:.0f}"),
        "pass_id": "p1",
        "at": "2026-11-27T12:00:05Z",
        "workspace": WORKSPACE,
        "mode": "approve",
        "run_id": run_id,
        "job_id": 123,
        "job_name": "nightly_etl",
        "task_key": "load",
        "error": OUT_OF_MEMORY,
        "error_fingerprint": "f1",
        "decision": "RETRY",
        "cause": "Java heap space",
        "reason": "It may pass.",
        "source": "model",
        "action": "proposed",
    }
    return DecisionRecord.model_validate(fields | changes)
