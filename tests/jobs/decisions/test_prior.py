from __future__ import annotations

import pytest

from app.jobs.decisions.prior import prior_decision
from app.jobs.runs.run_failure import ClusterTermination, TaskFailure


@pytest.mark.parametrize(
    ("code", "cluster_type", "expected"),
    [
        ("CLOUD_FAILURE", "", "RETRY"),
        ("CLOUD_FAILURE", "CLIENT_ERROR", "ESCALATE_EMAIL"),
        ("CLUSTER_ERROR", "SERVICE_FAULT", "RETRY"),
        ("CLUSTER_ERROR", "NEW_TYPE", "ESCALATE_EMAIL"),
        ("CLUSTER_ERROR", "", "ESCALATE_EMAIL"),
        ("DRIVER_ERROR", "", "ESCALATE_EMAIL"),
        ("DRIVER_ERROR", "SUCCESS", "ESCALATE_EMAIL"),
        ("DRIVER_ERROR", "CLOUD_FAILURE", "RETRY"),
        ("RUN_EXECUTION_ERROR", "CLOUD_FAILURE", "ESCALATE_EMAIL"),
        ("CANCELED", "", "ESCALATE_EMAIL"),
        ("USER_CANCELED", "", "SKIP"),
        ("A_CODE_OF_TOMORROW", "", "ESCALATE_EMAIL"),
        ("", "", "ESCALATE_EMAIL"),
    ],
)
def test_the_termination_codes_support_this_decision(code: str, cluster_type: str, expected: str) -> None:
    cluster = ClusterTermination("SOME_REASON", cluster_type, {}) if cluster_type else None
    decision = prior_decision(TaskFailure("load", 1, code, "", "", "", "", cluster=cluster))
    assert (decision.action, decision.source) == (expected, "prior")
