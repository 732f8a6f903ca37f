"""What the termination codes alone support, before any model is asked. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.common.log_text import one_line
from app.jobs.decisions.decision import Decision, DecisionAction
from app.jobs.runs.run_failure import RunFailure, TaskFailure

_RETRY = DecisionAction.RETRY
_ESCALATE = DecisionAction.ESCALATE_EMAIL
_SKIP = DecisionAction.SKIP

SOON_SECONDS = 5 * 60.0
LATER_SECONDS = 10 * 60.0
LATEST_SECONDS = 30 * 60.0

# How long each usually takes to pass.
_TRANSIENT = {
    "INTERNAL_ERROR": SOON_SECONDS,
    "CLOUD_FAILURE": LATER_SECONDS,
    "CLUSTER_REQUEST_LIMIT_EXCEEDED": LATER_SECONDS,
    "WORKSPACE_RUN_LIMIT_EXCEEDED": LATEST_SECONDS,
}
_TRANSIENT_CLUSTER_TYPES = {"SERVICE_FAULT": SOON_SECONDS, "CLOUD_FAILURE": LATER_SECONDS}
_NO_FAILURE = {
    "USER_CANCELED": "A person canceled the run",
    "CLUSTER_TERMINATED_BY_USER": "A person terminated the cluster",
    "DISABLED": "The task is disabled",
    "SKIPPED": "The run was skipped",
    "MAX_CONCURRENT_RUNS_EXCEEDED": "As many runs of the job as it allows were active already",
    "MAXIMUM_CONCURRENT_RUNS_REACHED": "As many runs of the job as it allows were active already",
    "EXCLUDED": "The condition of the task was not met",
    "BREAKING_CHANGE": "The platform itself runs it again with a mitigation",
}
_SAME_AGAIN = {
    "CANCELED": "The platform canceled the run, as it does at a time limit",
    "TIMEDOUT": "The run reached its time limit",
    "UNAUTHORIZED_ERROR": "A permission or a credential is missing",
    "INVALID_CLUSTER_REQUEST": "The cluster is not configured as it has to be",
    "INVALID_RUN_CONFIGURATION": "The run is not configured as it has to be",
    "RESOURCE_NOT_FOUND": "Something that the run needs does not exist",
    "FEATURE_DISABLED": "A feature is disabled that the run needs",
    "BUDGET_POLICY_LIMIT_EXCEEDED": "The budget is used up",
    "MAX_JOB_QUEUE_SIZE_EXCEEDED": "The queue of the job is full",
}
"""Running it again unchanged gives the same."""
_FOR_A_MODEL = frozenset(
    [
        *("RUN_EXECUTION_ERROR", "LIBRARY_INSTALLATION_ERROR", "STORAGE_ACCESS_ERROR", "REPOSITORY_CHECKOUT_FAILED"),
        *("CLUSTER_ERROR", "DRIVER_ERROR", "MAX_SPARK_CONTEXTS_EXCEEDED"),
        # The results of older workspaces.
        *("FAILED", "UPSTREAM_FAILED", "UPSTREAM_CANCELED"),
    ]
)
_CLUSTER_FAILURES = frozenset(["CLUSTER_ERROR", "CLOUD_FAILURE", "DRIVER_ERROR"])
_SAYS_NOTHING = frozenset(["", "RUN_EXECUTION_ERROR", "FAILED"])
_MAX_CODE_CHARACTERS = 100
_MAX_CAUSE_CHARACTERS = 300
_MAX_SEARCHED_CHARACTERS = 20_000
_OUT_OF_MEMORY = re.compile(
    r"outofmemory|out[ _]of[ _]memory|\boom\b|oom[- ]?kill|java heap space|gc overhead limit|memoryerror"
    r"|exit (?:code|status)[: ]{1,2}137|exitcode[= ]137|cannot allocate memory|unable to allocate|maxresultsize"
    r"|memory limit|due to gc\b|garbage collection"
)
_CANCELED_BY_PERSON = re.compile(r"cancell?ed by (?:a |the )?user")


@dataclass(frozen=True, slots=True)
class Prior:
    """`rules_out` is what a model may not decide. One that `is_final` needs no model."""

    decision: Decision
    rules_out: frozenset[DecisionAction] = frozenset()
    is_final: bool = False


def prior_of(failure: RunFailure) -> Prior:
    """Of its tasks: what one of them needs a person for does, and is skipped only where all are."""
    tasks = failure.tasks or (_whole_run(failure),)
    priors = [_prior(task) for task in tasks]
    for action in (_ESCALATE, _RETRY):
        chosen = [prior for prior in priors if prior.decision.action is action]
        if chosen:
            ruled_out = frozenset[DecisionAction]().union(*(prior.rules_out for prior in priors))
            longest = max(chosen, key=lambda prior: prior.decision.delay_seconds)
            return Prior(longest.decision, ruled_out)
    return priors[0]


def is_known_code(code: str) -> bool:
    """False for a code that the service got after this was written, or none."""
    return code in _FOR_A_MODEL or code in _TRANSIENT or code in _SAME_AGAIN or code in _NO_FAILURE


def codes_of(failure: RunFailure) -> tuple[str, ...]:
    return tuple(task.termination_code for task in failure.tasks) or (failure.termination_code,)


def would_run_out_of_memory(failure: RunFailure) -> bool:
    """A task of it did, by the causing error, or by anything that is known of a lost driver or cluster."""
    return any(
        is_out_of_memory(task)
        if task.termination_code in _CLUSTER_FAILURES
        else _OUT_OF_MEMORY.search(task.error[:_MAX_SEARCHED_CHARACTERS].lower()) is not None
        for task in failure.tasks
    )


def is_out_of_memory(task: TaskFailure) -> bool:
    half = _MAX_SEARCHED_CHARACTERS // 2
    cluster = "" if task.cluster is None else " ".join([task.cluster.code, *task.cluster.parameters.values()])
    told = "\n".join([cluster, task.message, task.error, task.trace[:half], task.trace[-half:]])
    return _OUT_OF_MEMORY.search(told[: 2 * _MAX_SEARCHED_CHARACTERS].lower()) is not None


def _prior(task: TaskFailure) -> Prior:
    """RETRY only for a known transient code; an unknown code escalates. For failures of a cluster the type of its
    termination decides. A driver is started again only where its cluster says why it failed and nothing speaks of
    memory.
    """
    code = task.termination_code[:_MAX_CODE_CHARACTERS]
    if code == "CANCELED" and _CANCELED_BY_PERSON.search(task.message[:1_000].lower()):
        code = "USER_CANCELED"
    if code in _NO_FAILURE:
        return Prior(_decision(_SKIP, _NO_FAILURE[code], code), is_final=True)
    if code in _SAME_AGAIN:
        return Prior(_decision(_ESCALATE, _SAME_AGAIN[code], _cause(code, task)), frozenset([_RETRY, _SKIP]))
    if code in _CLUSTER_FAILURES and is_out_of_memory(task):
        reason = "The driver or the cluster ran out of memory, and would again"
        return Prior(_decision(_ESCALATE, reason, "Out of memory"), frozenset([_RETRY, _SKIP]))
    if code in _CLUSTER_FAILURES and task.cluster is not None and task.cluster.type != "SUCCESS":
        cause = task.cluster.code[:_MAX_CODE_CHARACTERS] or code
        if delay_seconds := _TRANSIENT_CLUSTER_TYPES.get(task.cluster.type, 0.0):
            return Prior(_decision(_RETRY, f"The cluster ended with {cause}", cause, delay_seconds), frozenset([_SKIP]))
        return Prior(_decision(_ESCALATE, f"The cluster ended with {cause}", cause), frozenset([_RETRY, _SKIP]))
    if code in _TRANSIENT:
        decision = _decision(_RETRY, f"{code} is usually transient", _cause(code, task), _TRANSIENT[code])
        return Prior(decision, frozenset([_SKIP]))
    if code == "DRIVER_ERROR":
        reason = "The driver failed, and nothing says that it was not for lack of memory"
        return Prior(_decision(_ESCALATE, reason, _cause(code, task)), frozenset([_RETRY, _SKIP]))
    reason = f"{code or 'No termination code'} does not support a retry"
    return Prior(_decision(_ESCALATE, reason, _cause(code, task)))


def _cause(code: str, task: TaskFailure) -> str:
    said = one_line(task.error[: 2 * _MAX_CAUSE_CHARACTERS])[:_MAX_CAUSE_CHARACTERS]
    if not said or code in _SAYS_NOTHING:
        return said or code
    return f"{code}: {said}"


def _decision(action: DecisionAction, reason: str, cause: str, delay_seconds: float = 0.0) -> Decision:
    return Decision(action, f"{reason}.", cause, (), {}, 0.5, "prior", delay_seconds)


def _whole_run(failure: RunFailure) -> TaskFailure:
    return TaskFailure("", failure.run_id, failure.termination_code, "", "", "", "")
