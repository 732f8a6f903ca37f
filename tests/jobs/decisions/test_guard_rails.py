"""What no decision gets past."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.decisions.guard_rails import GuardFacts, guard
from app.jobs.decisions.parameter_rules import MAX_PARAMETERS, allowed_parameters, without_performance_target
from app.jobs.decisions.prior import is_known_code
from app.jobs.job_policy import JobPolicy, ParameterRule
from app.jobs.runs.run_failure import RunFailure, TaskFailure

BATCH = ParameterRule("batch_size", "integer", 1, 10_000)
POLICY = JobPolicy(is_rerun_safe=True, parameters=(BATCH,))
FAILURE = RunFailure(
    workspace="w",
    job_id=1,
    job_name="nightly_etl",
    run_id=2,
    url="",
    started_at_seconds=0.0,
    ended_at_seconds=1.0,
    termination_code="RUN_EXECUTION_ERROR",
    run_type="JOB_RUN",
    trigger="PERIODIC",
    parameters={"batch_size": "50000"},
    tasks=(),
)
FACTS = GuardFacts(0, 0, same_error_after_our_retry=False, failed_jobs_in_pass=1, breaker_jobs=10)
RETRY = Decision(DecisionAction.RETRY, "It may pass.", "A lost node", (), {}, 0.9, "model")
SMALLER = replace(RETRY, action=DecisionAction.RETRY_WITH_PARAMS, suggested_params={"batch_size": "10000"})


def test_a_safe_job_is_retried_automatically() -> None:
    guarded = guard(RETRY, FAILURE, POLICY, FACTS)
    assert (guarded.may_act, guarded.decision, guarded.rule) == (True, RETRY, "")


def test_a_parameter_within_its_bounds_is_changed_automatically() -> None:
    guarded = guard(SMALLER, FAILURE, POLICY, FACTS)
    assert guarded.may_act
    assert guarded.decision.suggested_params == {"batch_size": "10000"}


@pytest.mark.parametrize(
    ("rule", "action", "failure", "facts"),
    [
        ("newer_run_green", DecisionAction.SKIP, {"newer_run": "green"}, {}),
        ("newer_run_active", DecisionAction.ESCALATE_EMAIL, {"newer_run": "active"}, {}),
        ("submitted_run", DecisionAction.ESCALATE_EMAIL, {"run_type": "SUBMIT_RUN"}, {}),
        ("continuous_job", DecisionAction.ESCALATE_EMAIL, {"is_continuous": True}, {}),
        ("same_error_again", DecisionAction.ESCALATE_EMAIL, {}, {"same_error_after_our_retry": True}),
        ("retries_used_up", DecisionAction.ESCALATE_EMAIL, {}, {"retries": 3}),
    ],
)
def test_what_is_forbidden_is_not_even_proposed(
    rule: str, action: DecisionAction, failure: dict[str, object], facts: dict[str, object]
) -> None:
    guarded = guard(RETRY, replace(FAILURE, **failure), POLICY, replace(FACTS, **facts))  # type: ignore[arg-type]
    assert (guarded.rule, guarded.decision.action, guarded.may_act) == (rule, action, False)
    assert guarded.decision.source == "guard rail"
    assert guarded.decision.cause == RETRY.cause
    assert guarded.sentence


@pytest.mark.parametrize(
    ("rule", "policy", "failure", "facts"),
    [
        ("breaker", {}, {}, {"failed_jobs_in_pass": 10}),
        ("rerun_not_declared_safe", {"is_rerun_safe": False}, {}, {}),
        ("job_was_edited", {}, {"was_edited_since": True}, {}),
        ("newer_run_failed", {}, {"newer_run": "failed"}, {}),
    ],
)
def test_what_needs_a_person_is_proposed_and_not_done(
    rule: str, policy: dict[str, object], failure: dict[str, object], facts: dict[str, object]
) -> None:
    guarded = guard(
        SMALLER,
        replace(FAILURE, **failure),  # type: ignore[arg-type]
        replace(POLICY, **policy),  # type: ignore[arg-type]
        replace(FACTS, **facts),  # type: ignore[arg-type]
    )
    assert (guarded.rule, guarded.decision.action, guarded.may_act) == (rule, DecisionAction.RETRY_WITH_PARAMS, False)
    assert guarded.sentence


@pytest.mark.parametrize(
    ("suggested", "said"),
    [
        ({"workers": "8"}, "declares no parameter workers"),
        ({"batch_size": "50000"}, "at most 10000"),
        ({"batch_size": "0"}, "at least 1"),
        ({"batch_size": "1e3"}, "whole number"),
        ({}, "None was suggested"),
    ],
)
def test_a_retry_whose_parameters_may_not_be_set_goes_to_a_person_who_is_told_why(
    suggested: dict[str, str], said: str
) -> None:
    guarded = guard(replace(SMALLER, suggested_params=suggested), FAILURE, POLICY, FACTS)
    assert guarded.decision.action is DecisionAction.ESCALATE_EMAIL
    assert said in guarded.sentence


def test_a_retry_that_asks_for_more_than_is_allowed_is_proposed_without_it() -> None:
    decision = replace(SMALLER, suggested_params={"batch_size": "100", "workers": "8"})
    guarded = guard(decision, FAILURE, POLICY, FACTS)
    assert guarded.decision.suggested_params == {"batch_size": "100"}
    assert not guarded.may_act
    assert "workers" in guarded.sentence


def test_a_plain_retry_changes_no_parameter_whatever_the_model_adds() -> None:
    guarded = guard(replace(RETRY, suggested_params={"batch_size": "5"}), FAILURE, POLICY, FACTS)
    assert guarded.decision.suggested_params == {}


def test_retries_with_parameters_have_a_limit_of_their_own() -> None:
    facts = replace(FACTS, retries=2, retries_with_params=2)
    assert guard(SMALLER, FAILURE, POLICY, facts).rule == "retries_used_up"
    assert guard(RETRY, FAILURE, POLICY, facts).may_act


@given(
    decision=st.builds(
        Decision,
        action=st.sampled_from(DecisionAction),
        reason=st.text(max_size=20),
        cause=st.just("cause"),
        hypotheses=st.just(()),
        suggested_params=st.dictionaries(
            st.sampled_from(["batch_size", "target"]), st.sampled_from(["5", "50000", "x"])
        ),
        confidence=st.floats(0, 1),
        source=st.sampled_from(["model", "prior"]),
    ),
    failure=st.builds(
        lambda **changes: replace(FAILURE, **changes),
        run_type=st.sampled_from(["JOB_RUN", "SUBMIT_RUN"]),
        newer_run=st.sampled_from(["", "green", "active", "failed"]),
        is_continuous=st.booleans(),
        was_edited_since=st.booleans(),
        termination_code=st.sampled_from(["RUN_EXECUTION_ERROR", "NEW_CODE"]),
    ),
    facts=st.builds(GuardFacts, st.integers(0, 4), st.integers(0, 3), st.booleans(), st.integers(1, 12), st.just(10)),
    is_rerun_safe=st.booleans(),
)
def test_whatever_is_decided_only_what_nothing_forbids_is_done_alone(
    decision: Decision, failure: RunFailure, facts: GuardFacts, is_rerun_safe: bool
) -> None:
    guarded = guard(decision, failure, replace(POLICY, is_rerun_safe=is_rerun_safe), facts)
    assert bool(guarded.rule) == bool(guarded.sentence)
    if guarded.may_act:
        assert guarded.decision.action in {DecisionAction.RETRY, DecisionAction.RETRY_WITH_PARAMS}
        assert is_rerun_safe
        assert (failure.run_type, failure.newer_run, failure.termination_code) == ("JOB_RUN", "", "RUN_EXECUTION_ERROR")
        assert not any([failure.is_continuous, failure.was_edited_since, facts.same_error_after_our_retry])
        assert facts.retries < 3
        assert facts.failed_jobs_in_pass < 10
        assert decision.source == "prior" or decision.confidence >= 0.5
    if guarded.decision.action is DecisionAction.RETRY_WITH_PARAMS:
        assert facts.retries_with_params < 2
        assert dict(guarded.decision.suggested_params) == {"batch_size": "5"}
    elif decision.action is not DecisionAction.SKIP:
        assert not guarded.decision.suggested_params or guarded.decision == decision


OOM = "java.lang.OutOfMemoryError: Java heap space"


def failed_task(code: str = "RUN_EXECUTION_ERROR", error: str = "", trace: str = "") -> tuple[TaskFailure, ...]:
    return (TaskFailure("load", 3, code, "", "", error, trace),)


def test_what_ran_out_of_memory_is_not_run_again_unchanged() -> None:
    failure = replace(FAILURE, tasks=failed_task(error=OOM))
    assert guard(RETRY, failure, POLICY, FACTS).rule == "out_of_memory"
    assert guard(RETRY, replace(FAILURE, tasks=failed_task("DRIVER_ERROR", trace=OOM)), POLICY, FACTS).rule
    assert guard(SMALLER, failure, POLICY, FACTS).may_act
    assert guard(RETRY, replace(failure, was_edited_since=True), POLICY, FACTS).rule == "job_was_edited"
    # The log of a job may speak of memory without lacking it.
    assert guard(RETRY, replace(FAILURE, tasks=failed_task(trace=OOM)), POLICY, FACTS).may_act


@pytest.mark.parametrize("code", ["A_CODE_OF_TOMORROW", "", "run_execution_error"])
def test_an_unknown_code_never_acts_alone(code: str) -> None:
    for failure in (replace(FAILURE, tasks=failed_task(code)), replace(FAILURE, termination_code=code)):
        guarded = guard(RETRY, failure, POLICY, FACTS)
        assert (guarded.may_act, guarded.rule) == (False, "unknown_code")
        assert guarded.decision.action is DecisionAction.RETRY


def test_every_code_that_the_sdk_knows_is_known() -> None:
    from databricks.sdk.service.jobs import TerminationCodeCode

    unknown = {each.value for each in TerminationCodeCode if not is_known_code(each.value)}
    assert unknown == {"SUCCESS", "SUCCESS_WITH_FAILURES"}


TARGET = ParameterRule("performance_target", "text", choices=("PERFORMANCE_OPTIMIZED", "STANDARD"))
FASTER = replace(SMALLER, suggested_params={"performance_target": "PERFORMANCE_OPTIMIZED"})


def test_the_performance_target_is_changed_on_serverless_compute_alone() -> None:
    policy = replace(POLICY, parameters=(TARGET,))
    guarded = guard(FASTER, replace(FAILURE, is_serverless=True), policy, FACTS)
    assert guarded.may_act
    assert without_performance_target(guarded.decision.suggested_params, FAILURE) == ({}, "PERFORMANCE_OPTIMIZED")
    assert "serverless" in guard(FASTER, FAILURE, policy, FACTS).sentence
    assert "JOB_WATCH_ALLOW" in guard(FASTER, replace(FAILURE, is_serverless=True), POLICY, FACTS).sentence


def test_a_parameter_of_the_job_with_the_name_of_the_target_stays_one() -> None:
    failure = replace(FAILURE, parameters={"performance_target": "slow"}, is_serverless=True)
    assert without_performance_target({"performance_target": "fast"}, failure) == ({"performance_target": "fast"}, "")


RULES = (
    BATCH,
    ParameterRule("ratio", "number", 0.0, 1.0),
    ParameterRule("full", "boolean"),
    ParameterRule("env", "text", choices=("test", "dev")),
)
DECLARED = {rule.name: "" for rule in RULES} | {"target": "prod"}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("batch_size", " 10000 ", "10000"),
        ("batch_size", "10001", None),
        ("batch_size", "1_000", None),
        ("batch_size", "٣", None),
        ("batch_size", "", None),
        ("ratio", "0.25", "0.25"),
        ("ratio", "nan", None),
        ("ratio", "inf", None),
        ("full", "true", "true"),
        ("full", "True", None),
        ("env", "dev", "dev"),
        ("env", "dev; DROP TABLE", None),
        ("target", "test", None),
        ("BATCH_SIZE", "10", None),
    ],
)
def test_only_a_value_that_its_rule_has_room_for_is_set(name: str, value: str, allowed: str | None) -> None:
    found, problems = allowed_parameters({name: value}, DECLARED, RULES)
    assert found == ({} if allowed is None else {name: allowed})
    assert len(problems) == (allowed is None)


@given(st.dictionaries(st.text(), st.text(), max_size=40))
def test_nothing_is_set_that_no_rule_names(suggested: dict[str, str]) -> None:
    allowed, problems = allowed_parameters(suggested, DECLARED, RULES)
    assert set(allowed) <= {rule.name for rule in RULES}
    assert len(allowed) + len(problems) >= min(len(suggested), MAX_PARAMETERS)
    assert all("\n" not in problem and len(problem) < 400 for problem in problems)
