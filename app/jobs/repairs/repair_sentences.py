"""What a person is told about a repair that was refused, or that became something else."""

from __future__ import annotations

import re
from typing import Final

from app.databricks.workspace_errors import WorkspaceError
from app.tools.redaction import without_secrets

RUN_GONE: Final = "The run is gone, or may not be seen any more."
JOB_GONE: Final = "The job was deleted meanwhile, or may not be seen any more."
NO_PERMISSION: Final = "The agent may not repair runs of this job: it needs the permission CAN MANAGE RUN."
HAS_ENDED: Final = "The run has ended already."
NOT_SERVERLESS: Final = "The performance target can be changed on serverless compute only, which this run did not use."

BY_SOMEBODY_ELSE: Final = "Somebody else had begun a repair of the run already; I follow that one."
NEVER_BEGAN: Final = "The run never began, so that there is nothing to repair: I began a new run of the job."
GONE_SO_RUN: Final = "The run is gone and cannot be repaired: I began a new run of the job with its parameters."
TOO_OLD: Final = "The run is too old to be repaired: I began a new run of the job with its parameters."
OTHER_ITERATIONS: Final = (
    "With these parameters a for-each task has another number of iterations, which a repair may not change: "
    "I began a new run of the job."
)
NOT_REPAIRABLE: Final = "Databricks does not repair this run: I began a new run of the job with its parameters."

_NEEDS_NEW_RUN: Final = (
    (re.compile(r"same total iterations", re.IGNORECASE), OTHER_ITERATIONS),
    (re.compile(r"\bruns?\b.{0,60}\b(?:too old|older than|expired|no longer available)\b", re.IGNORECASE), TOO_OLD),
    (re.compile(r"\b(?:never began|no failed tasks|nothing to repair)\b", re.IGNORECASE), NEVER_BEGAN),
    (
        re.compile(
            r"\b(?:cannot be repaired|not repairable|(?:not support(?:ed)?|unsupported)\b.{0,60}\brepair)",
            re.IGNORECASE,
        ),
        NOT_REPAIRABLE,
    ),
    (re.compile(r"\brepair\b.{0,60}\b(?:not supported|unsupported|not available)\b", re.IGNORECASE), NOT_REPAIRABLE),
)


def reason_for_new_run(error: WorkspaceError) -> str:
    """Why the run cannot be repaired while its job can be run; empty where the refusal says no such thing."""
    for known, why in _NEEDS_NEW_RUN:
        if known.search(error.detail):
            return why
    return ""


def gone(error: WorkspaceError) -> str:
    """The service names what it does not find."""
    return JOB_GONE if error.detail.startswith("Job ") else RUN_GONE


def refusal(call: str, error: WorkspaceError) -> str:
    detail = without_secrets(error.detail)
    return f"Databricks refused to {call} it: {detail}" if detail else f"Databricks refused to {call} it."
