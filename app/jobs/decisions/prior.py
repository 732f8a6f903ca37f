"""The decision that the termination codes alone support, before any model is asked."""

from __future__ import annotations

from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.runs.run_failure import TaskFailure

_RETRIED = frozenset(
    ["CLOUD_FAILURE", "CLUSTER_REQUEST_LIMIT_EXCEEDED", "WORKSPACE_RUN_LIMIT_EXCEEDED", "INTERNAL_ERROR"]
)
_SKIPPED = frozenset(["USER_CANCELED", "DISABLED", "SKIPPED", "MAX_CONCURRENT_RUNS_EXCEEDED"])
_CLUSTER_FAILURES = frozenset(["CLUSTER_ERROR", "CLOUD_FAILURE", "DRIVER_ERROR"])
_TRANSIENT_CLUSTER_TYPES = frozenset(["SERVICE_FAULT", "CLOUD_FAILURE"])
_MAX_CODE_CHARACTERS = 100
_RETRY_DELAY_SECONDS = 600.0
"""What is transient has not passed at once: between 5 and 30 minutes."""


def prior_decision(task: TaskFailure) -> Decision:
    """RETRY only for a known transient code; an unknown code escalates. For failures of a cluster the type of its
    termination decides; DRIVER_ERROR without one escalates, since the driver may have run out of memory.
    """
    code = task.termination_code[:_MAX_CODE_CHARACTERS]
    if code in _CLUSTER_FAILURES and task.cluster is not None and task.cluster.type != "SUCCESS":
        reason = f"The cluster ended with {task.cluster.code[:_MAX_CODE_CHARACTERS]}"
        transient = task.cluster.type in _TRANSIENT_CLUSTER_TYPES
        return _decision(DecisionAction.RETRY if transient else DecisionAction.ESCALATE_EMAIL, reason, code)
    if code in _RETRIED:
        return _decision(DecisionAction.RETRY, f"{code} is usually transient", code)
    if code in _SKIPPED:
        return _decision(DecisionAction.SKIP, f"{code} is no failure of the job", code)
    return _decision(DecisionAction.ESCALATE_EMAIL, f"{code or 'No termination code'} does not support a retry", code)


def _decision(action: DecisionAction, reason: str, cause: str) -> Decision:
    delay_seconds = _RETRY_DELAY_SECONDS if action is DecisionAction.RETRY else 0.0
    return Decision(action, f"{reason}.", cause, (), {}, 0.5, "prior", delay_seconds)
