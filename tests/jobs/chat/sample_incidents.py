"""An incident of the job nightly_etl, and the policy of that job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.jobs.decisions.decision import Decision, DecisionAction, Hypothesis
from app.jobs.incidents.incident import Incident, IncidentRun, IncidentState, Proposal
from app.jobs.job_policy import JobPolicy, ParameterRule, Person, WatchMode
from app.jobs.runs.run_failure import ClusterTermination, RunFailure, TaskFailure

NOW = 1_795_748_460.0
TENANT = "11111111-aaaa-4000-8000-000000000001"
ANN = Person(TENANT, "a0000000-0000-4000-8000-00000000000a", "Ann Approver", "ann@example.com")
BOB = Person(TENANT, "b0000000-0000-4000-8000-00000000000b", "Bob", "bob@example.com")
OLGA = Person(TENANT, "c0000000-0000-4000-8000-00000000000c", "Olga Owner", "olga@example.com")
POLICY = JobPolicy(
    mode=WatchMode.APPROVE,
    is_rerun_safe=True,
    parameters=(
        ParameterRule("batch_size", "integer", 10, 500),
        ParameterRule("mode", "text", choices=("full", "new")),
    ),
    approvers=(ANN,),
    owners=(OLGA,),
)
FAILURE = RunFailure(
    workspace="adb-123.azuredatabricks.net",
    job_id=11,
    job_name="nightly_etl",
    run_id=70,
    url="https://adb-123.azuredatabricks.net/jobs/11/runs/70?o=123",
    started_at_seconds=NOW - 3660.0,
    ended_at_seconds=NOW - 60.0,
    termination_code="RUN_EXECUTION_ERROR",
    run_type="JOB_RUN",
    trigger="PERIODIC",
    parameters={"batch_size": "500", "mode": "full", "api_key": "0123456789abcdef"},
    tasks=(
        TaskFailure(
            task_key="load_orders",
            run_id=71,
            termination_code="RUN_EXECUTION_ERROR",
            termination_type="CLIENT_ERROR",
            message="Task load_orders failed: Workload failed, see run output for details.",
            error="java.lang.OutOfMemoryError: Java heap space\n    at org.apache.spark.sql.Orders.load(<console>:25)",
            trace="",
            cluster=ClusterTermination("DRIVER_NOT_RESPONDING", "CLIENT_ERROR", {}),
        ),
    ),
)
DECISION = Decision(
    action=DecisionAction.RETRY_WITH_PARAMS,
    reason="The batch does not fit into the driver's memory.",
    cause="The driver ran out of memory while it collected 500 GB.",
    hypotheses=(
        Hypothesis("The batch is too large.", "Java heap space in load_orders"),
        Hypothesis("The data has grown.", "500 GB were read"),
    ),
    suggested_params={"batch_size": "100"},
    confidence=0.8,
    source="model",
)
PROPOSAL = Proposal(
    id="p-4711",
    action="RETRY_WITH_PARAMS",
    run_id=70,
    parameters={"batch_size": "100"},
    expires_at_seconds=NOW + 12 * 3600.0,
)
RUN = IncidentRun(
    key="70-1", run_id=70, job_id=11, job_name="nightly_etl", url=FAILURE.url, ended_at_seconds=NOW - 60.0
)
INCIDENT = Incident(
    id="5d41402abc4b2a76b9719d91",
    workspace="adb-123.azuredatabricks.net",
    job_id=11,
    job_name="nightly_etl",
    error_fingerprint="f1",
    state=IncidentState.PROPOSED,
    mode=WatchMode.APPROVE,
    failure=FAILURE,
    decision=DECISION,
    runs=(RUN,),
    run_count=1,
    opened_at_seconds=NOW,
    changed_at_seconds=NOW,
    proposal=PROPOSAL,
)
HOSTILE = "**[nightly](https://evil.example)** <at>all</at> `x`\n# now\u202e| ![i](https://evil.example/p.png)"


def an_incident(**changes: Any) -> Incident:
    return INCIDENT.model_copy(update=changes)


def hostile_incident() -> Incident:
    """Every name and text of it tries to be Markdown."""
    task = replace(FAILURE.tasks[0], task_key=HOSTILE, error=f"```\n{HOSTILE}", termination_code=HOSTILE)
    failure = replace(
        FAILURE, job_name=HOSTILE, tasks=(task,), parameters={HOSTILE: HOSTILE}, url="https://x.example/a)[b](c"
    )
    hypotheses = (Hypothesis(HOSTILE, HOSTILE),)
    decision = replace(DECISION, cause=HOSTILE, reason=HOSTILE, hypotheses=hypotheses)
    return an_incident(
        job_name=HOSTILE,
        failure=failure,
        decision=decision,
        proposal=PROPOSAL.model_copy(update={"parameters": {HOSTILE: HOSTILE}, "reason_not_automatic": HOSTILE}),
        assigned_to=HOSTILE,
        note=HOSTILE,
        decided_by=Person(TENANT, BOB.entra_object_id, HOSTILE),
    )
