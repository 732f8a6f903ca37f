"""One row of the history: what was decided about one failed run, and what became of it."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

PRIMARY: Final = "primary"
OBSERVED: Final = "observed"
"""Strategies: the one that acts, and a second one that never does."""

RecordedOutcome = Literal["", "succeeded", "failed", "canceled", "unknown"]


class DecisionRecord(BaseModel):
    """Strings and integers alone, so that Spark, CSV and JSON hold it as it is.

    `at` and `outcome_at` are in ISO 8601, UTC; `outcome_at` is empty while the outcome is. `error` and `evidence` are
    bounded, without secrets. `decision` is what the strategy decided, `action` what was done: "retried",
    "retried_with_params", "escalated", "skipped", "proposed". `parameters` and `hypotheses` are JSON text,
    `confidence_percent` is from 0 to 100. `strategy` is "primary", or "observed" for a second one that never acts.
    `outcome` is of the retried run. `wrong_diagnosis` counts the people who said so.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    key: str
    pass_id: str
    at: str
    workspace: str
    mode: str
    strategy: str = PRIMARY
    model: str = ""
    run_id: int
    job_id: int
    job_name: str
    task_key: str = ""
    termination_code: str = ""
    error: str = ""
    error_fingerprint: str = ""
    evidence: str = ""
    decision: str
    cause: str
    reason: str
    hypotheses: str = "[]"
    confidence_percent: int = 0
    source: str
    rule: str = ""
    action: str
    parameters: str = "{}"
    proposal_id: str = ""
    incident_id: str = ""
    approved_by: str = ""
    recipients: str = ""
    outcome: RecordedOutcome = ""
    outcome_at: str = ""
    wrong_diagnosis: int = 0


DECISION_SCHEMA: Final = ", ".join(
    f"{name} {'BIGINT' if field.annotation is int else 'STRING'}" for name, field in DecisionRecord.model_fields.items()
)
"""Of a row as a dict, in Spark's DDL: `spark.createDataFrame(summary["decisions"], schema=DECISION_SCHEMA)`."""
