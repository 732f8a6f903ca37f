"""What the termination codes alone support."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.jobs.decisions.decision import DecisionAction
from app.jobs.decisions.prior import Prior, is_out_of_memory, prior_of
from app.jobs.runs.run_failure import ClusterTermination, TaskFailure
from tests.jobs.decisions.test_guard_rails import FAILURE


def task(code: str, cluster_type: str = "", *, trace: str = "", error: str = "", message: str = "") -> TaskFailure:
    cluster = ClusterTermination("SOME_REASON", cluster_type, {}) if cluster_type else None
    return TaskFailure("load", 1, code, "", message, error, trace, cluster=cluster)


def prior(failed: TaskFailure) -> Prior:
    return prior_of(replace(FAILURE, tasks=(failed,)))


@pytest.mark.parametrize(
    ("code", "cluster_type", "expected"),
    [
        ("CLOUD_FAILURE", "", "RETRY"),
        ("CLOUD_FAILURE", "CLIENT_ERROR", "ESCALATE_EMAIL"),
        ("CLUSTER_ERROR", "SERVICE_FAULT", "RETRY"),
        ("CLUSTER_ERROR", "CLOUD_FAILURE", "RETRY"),
        ("CLUSTER_ERROR", "CLIENT_ERROR", "ESCALATE_EMAIL"),
        ("CLUSTER_ERROR", "NEW_TYPE", "ESCALATE_EMAIL"),
        ("CLUSTER_ERROR", "", "ESCALATE_EMAIL"),
        ("DRIVER_ERROR", "", "ESCALATE_EMAIL"),
        ("DRIVER_ERROR", "SUCCESS", "ESCALATE_EMAIL"),
        ("DRIVER_ERROR", "CLOUD_FAILURE", "RETRY"),
        ("RUN_EXECUTION_ERROR", "CLOUD_FAILURE", "ESCALATE_EMAIL"),
        ("WORKSPACE_RUN_LIMIT_EXCEEDED", "", "RETRY"),
        ("CANCELED", "", "ESCALATE_EMAIL"),
        ("TIMEDOUT", "", "ESCALATE_EMAIL"),
        ("USER_CANCELED", "", "SKIP"),
        ("CLUSTER_TERMINATED_BY_USER", "", "SKIP"),
        ("BREAKING_CHANGE", "", "SKIP"),
        ("REPOSITORY_CHECKOUT_FAILED", "", "ESCALATE_EMAIL"),
        ("A_CODE_OF_TOMORROW", "", "ESCALATE_EMAIL"),
        ("", "", "ESCALATE_EMAIL"),
    ],
)
def test_the_termination_codes_support_this_decision(code: str, cluster_type: str, expected: str) -> None:
    decision = prior(task(code, cluster_type)).decision
    assert (decision.action, decision.source) == (expected, "prior")
    assert (300 <= decision.delay_seconds <= 1800) == (expected == "RETRY")


def test_a_run_that_an_old_workspace_says_a_person_canceled_is_skipped() -> None:
    assert prior(task("CANCELED", message="Run cancelled by user.")).decision.action is DecisionAction.SKIP


@pytest.mark.parametrize(
    "told",
    [
        "java.lang.OutOfMemoryError: Java heap space",
        "java.lang.OutOfMemoryError: GC overhead limit exceeded",
        "DriverStoppedException: Driver down cause: driver state change (exit code: 137)",
        "ExecutorLostFailure (executor 3 exited): Container killed. Exit status: 137.",
        "MemoryError: Unable to allocate 12.4 GiB for an array",
        "oom-killer: Kill process 498 (java)",
        "DRIVER_OUT_OF_MEMORY",
    ],
)
@pytest.mark.parametrize("where", ["error", "trace", "message"])
def test_a_driver_out_of_memory_is_not_started_again(told: str, where: str) -> None:
    judged = prior(task("DRIVER_ERROR", "CLOUD_FAILURE", **{where: told}))
    assert judged.decision.action is DecisionAction.ESCALATE_EMAIL
    assert DecisionAction.RETRY in judged.rules_out


def test_a_cluster_that_names_memory_itself_is_out_of_memory() -> None:
    cluster = ClusterTermination("DRIVER_OUT_OF_MEMORY", "SERVICE_FAULT", {})
    assert is_out_of_memory(replace(task("CLUSTER_ERROR"), cluster=cluster))


@pytest.mark.parametrize("told", ["room 137 is taken", "zoom failed", "exit code: 1", "a memory of summer"])
def test_other_words_are_no_lack_of_memory(told: str) -> None:
    assert not is_out_of_memory(task("DRIVER_ERROR", trace=told))


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (("CLOUD_FAILURE", "USER_CANCELED"), "RETRY"),
        (("CLOUD_FAILURE", "UNAUTHORIZED_ERROR"), "ESCALATE_EMAIL"),
        (("USER_CANCELED", "DISABLED"), "SKIP"),
        (("INTERNAL_ERROR", "WORKSPACE_RUN_LIMIT_EXCEEDED"), "RETRY"),
        ((), "ESCALATE_EMAIL"),
    ],
)
def test_a_run_is_judged_by_what_is_gravest_among_its_tasks(codes: tuple[str, ...], expected: str) -> None:
    prior = prior_of(replace(FAILURE, tasks=tuple(map(task, codes))))
    assert prior.decision.action == expected
    assert prior.is_final == (expected == "SKIP")


def test_a_retry_waits_for_what_takes_longest_to_pass() -> None:
    tasks = (task("INTERNAL_ERROR"), task("WORKSPACE_RUN_LIMIT_EXCEEDED"))
    assert prior_of(replace(FAILURE, tasks=tasks)).decision.delay_seconds == 1800
