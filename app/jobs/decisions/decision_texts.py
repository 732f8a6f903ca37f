"""Failures from, and decisions as, plain values for callers that have no run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from app.jobs.decisions.decision import Decision
from app.jobs.runs.causing_error import bounded_trace, causing_error
from app.jobs.runs.run_failure import RunFailure, TaskFailure

_MAX_MESSAGE_CHARACTERS = 200_000
_MAX_TEXT_CHARACTERS = 300
_MAX_PARAMETERS = 100


def failure_of_message(error_message: str, context: Mapping[str, object]) -> RunFailure:
    """`error_message` may be a whole trace. What `context` lacks, or has as another type, is empty."""
    message = str(error_message or "")[:_MAX_MESSAGE_CHARACTERS]
    trace = str(context.get("error_trace") or context.get("trace") or "")[:_MAX_MESSAGE_CHARACTERS]
    code = _text(context.get("termination_code")) or "RUN_EXECUTION_ERROR"
    task = TaskFailure(
        task_key=_text(context.get("task_key")),
        run_id=_number(context.get("run_id")),
        termination_code=code,
        termination_type="",
        message="",
        error=causing_error(message, trace),
        trace=bounded_trace(trace or message),
    )
    parameters = context.get("parameters")
    named = parameters.items() if isinstance(parameters, Mapping) else ()
    return RunFailure(
        workspace="",
        job_id=_number(context.get("job_id")),
        job_name=_text(context.get("job_name")),
        run_id=_number(context.get("run_id")),
        url="",
        started_at_seconds=0.0,
        ended_at_seconds=0.0,
        termination_code=code,
        run_type="JOB_RUN",
        trigger="",
        parameters={str(name): str(value)[:_MAX_TEXT_CHARACTERS] for name, value in islice(named, _MAX_PARAMETERS)},
        tasks=(task,),
    )


def decision_as_dict(decision: Decision) -> dict[str, object]:
    return {
        "decision": decision.action.value,
        "reason": decision.reason,
        "cause": decision.cause,
        "suggested_params": dict(decision.suggested_params),
        "hypotheses": [{"text": each.text, "evidence": each.evidence} for each in decision.hypotheses],
        "confidence": decision.confidence,
        "source": decision.source,
        "retry_after_minutes": round(decision.delay_seconds / 60),
    }


def _text(value: object) -> str:
    return value[:_MAX_TEXT_CHARACTERS] if isinstance(value, str) else ""


def _number(value: object) -> int:
    """Spark and pandas hand ids over as their own types."""
    try:
        return max(0, int(value))  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0
