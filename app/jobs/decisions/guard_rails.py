"""What no decision gets past, whoever made it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from app.common.log_text import one_line
from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.decisions.parameter_rules import allowed_parameters, changeable_parameters
from app.jobs.decisions.prior import codes_of, is_known_code, would_run_out_of_memory
from app.jobs.job_policy import JobPolicy
from app.jobs.runs.run_failure import RunFailure

OUT_OF_MEMORY: Final = "out_of_memory"
"""The rule that a person may break who asks for the retry: they may know what has changed."""

_SHOWN_CHARACTERS = 60
_LEAST_CONFIDENCE = 0.5
_RETRIES = frozenset([DecisionAction.RETRY, DecisionAction.RETRY_WITH_PARAMS])


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """What has to be known besides the failure. The retries are of this run, by whomever."""

    retries: int
    retries_with_params: int
    same_error_after_our_retry: bool
    failed_jobs_in_pass: int
    breaker_jobs: int


@dataclass(frozen=True, slots=True)
class GuardedDecision:
    """`decision` is a retry only where a person may still approve it; `may_act`: nothing forbids it without one.

    `rule` is the name of the rule that won, and `sentence` says it to a person; both are empty where none did.
    """

    decision: Decision
    may_act: bool
    rule: str = ""
    sentence: str = ""


def guard(decision: Decision, failure: RunFailure, policy: JobPolicy, facts: GuardFacts) -> GuardedDecision:
    if decision.action not in _RETRIES:
        return GuardedDecision(decision, may_act=False)
    decision, refused = _with_allowed_parameters(decision, failure, policy)
    for rule, action, sentence in _forbidden(decision, failure, policy, facts, refused):
        changed = replace(decision, action=action, source="guard rail", reason=sentence, suggested_params={})
        return GuardedDecision(changed, may_act=False, rule=rule, sentence=sentence)
    if refused:
        return GuardedDecision(decision, may_act=False, rule="parameter_not_allowed", sentence=refused)
    for rule, sentence in _needs_a_person(decision, failure, policy, facts):
        return GuardedDecision(decision, may_act=False, rule=rule, sentence=sentence)
    return GuardedDecision(decision, may_act=True)


def _with_allowed_parameters(decision: Decision, failure: RunFailure, policy: JobPolicy) -> tuple[Decision, str]:
    """The decision with what may be set of its parameters, and why the others may not."""
    if decision.action is not DecisionAction.RETRY_WITH_PARAMS:
        return replace(decision, suggested_params={}), ""
    now = changeable_parameters(failure)
    allowed, problems = allowed_parameters(decision.suggested_params, now, policy.parameters)
    changed = {name: value for name, value in allowed.items() if value != now.get(name)}
    return replace(decision, suggested_params=changed), " ".join(problems)


def _forbidden(
    decision: Decision, failure: RunFailure, policy: JobPolicy, facts: GuardFacts, refused: str
) -> Iterator[tuple[str, DecisionAction, str]]:
    """Why it is not even proposed, the most telling reason first."""
    escalate = DecisionAction.ESCALATE_EMAIL
    if failure.newer_run == "green":
        yield "newer_run_green", DecisionAction.SKIP, "A newer run of the job has succeeded."
    if failure.newer_run == "active":
        yield "newer_run_active", escalate, "A newer run of the job is active, so this one is not retried."
    if failure.run_type == "SUBMIT_RUN":
        yield "submitted_run", escalate, "The run was submitted without a job, so whoever submitted it has to retry it."
    if failure.is_continuous:
        yield "continuous_job", escalate, "The job is continuous: the service itself starts it again."
    if facts.same_error_after_our_retry:
        yield "same_error_again", escalate, "The same error came again after a retry."
    if facts.retries >= policy.max_retry_attempts:
        yield "retries_used_up", escalate, f"The run was retried {facts.retries} times, which is the limit."
    if decision.action is DecisionAction.RETRY_WITH_PARAMS:
        if facts.retries_with_params >= policy.retry_with_params_attempts:
            count = facts.retries_with_params
            yield "retries_used_up", escalate, f"The run was retried with other parameters {count} times, the limit."
        if not decision.suggested_params:
            why = refused or "None was suggested that the run did not have already."
            yield "no_allowed_parameter", escalate, f"It would need other parameters. {why}"
    if decision.action is DecisionAction.RETRY and not failure.was_edited_since and would_run_out_of_memory(failure):
        yield OUT_OF_MEMORY, escalate, "It ran out of memory, and would again if nothing is changed."


def _needs_a_person(
    decision: Decision, failure: RunFailure, policy: JobPolicy, facts: GuardFacts
) -> Iterator[tuple[str, str]]:
    """Why it is proposed, and not done."""
    if decision.source == "model" and decision.confidence < _LEAST_CONFIDENCE:
        yield "model_is_unsure", f"The model gives its own decision {decision.confidence:.0%}."
    if facts.failed_jobs_in_pass >= facts.breaker_jobs:
        yield "breaker", f"{facts.failed_jobs_in_pass} jobs failed at once, so nothing is retried automatically."
    if unknown := [code for code in codes_of(failure) if not is_known_code(code)]:
        code = one_line(unknown[0])[:_SHOWN_CHARACTERS]
        yield (
            "unknown_code",
            f"Nothing is known of the termination code {code}." if code else "The service gave no termination code.",
        )
    if not policy.is_rerun_safe:
        yield "rerun_not_declared_safe", "The owner has not declared that running this job again does no harm."
    if failure.was_edited_since:
        yield "job_was_edited", "The job was edited after the run began, and a repair uses its settings of today."
    if failure.newer_run == "failed":
        yield "newer_run_failed", "A newer run of the job has failed too."
