"""One decision of the history as a chat: what the model is asked, and the answer that would have been right. Pure."""

from __future__ import annotations

import json
import re
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict

from app.common.json_values import items, mapping, text
from app.common.log_text import one_line
from app.common.text import replace_lone_surrogates
from app.jobs.decisions.decision import DecisionAction
from app.jobs.decisions.decision_question import INSTRUCTIONS, question_about
from app.jobs.decisions.prior import prior_of
from app.jobs.job_policy import JobPolicy, ParameterRule
from app.jobs.runs.run_failure import RunFailure, TaskFailure
from app.tools.redaction import without_secrets

_MAX_TEXT_CHARACTERS = 6_000
_MAX_LINE_CHARACTERS = 300
_MAX_HYPOTHESES = 3
_MAX_PARAMETERS = 20
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_FAILED_RETRY = "A retry was tried and failed, so a person has to look."
_NO_REASON = "It helped when it was done."


class HistoryRow(BaseModel):
    """What is needed of a decision record."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    key: str = ""
    strategy: str = ""
    job_name: str = ""
    task_key: str = ""
    termination_code: str = ""
    error: str = ""
    evidence: str = ""
    decision: DecisionAction
    cause: str = ""
    reason: str = ""
    parameters: str = "{}"
    hypotheses: str = "[]"
    confidence_percent: int = 0
    outcome: str
    wrong_diagnosis: int = 0


def taught_decision(row: HistoryRow) -> DecisionAction:
    return row.decision if row.outcome == "succeeded" else DecisionAction.ESCALATE_EMAIL


def messages_of(row: HistoryRow) -> list[dict[str, str]]:
    """The question is the one that the decision engine asks, as far as the history knows the failure."""
    decision = taught_decision(row)
    suggested = _parameters(row.parameters) if decision is DecisionAction.RETRY_WITH_PARAMS else []
    answer = {
        "hypotheses": _hypotheses(row.hypotheses),
        "cause": _line(row.cause) or _line(row.error) or _line(row.termination_code),
        "decision": decision.value,
        "reason": _FAILED_RETRY if row.outcome == "failed" else _line(row.reason) or _NO_REASON,
        "suggested_params": suggested,
        "confidence": max(0, min(row.confidence_percent, 100)) / 100,
    }
    failure = _failure(row)
    policy = JobPolicy(parameters=tuple(ParameterRule(name, "text") for name in failure.parameters))
    return [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": question_about(failure, policy, prior_of(failure)).text},
        {"role": "assistant", "content": json.dumps(answer, ensure_ascii=False)},
    ]


def _failure(row: HistoryRow) -> RunFailure:
    code = _line(row.termination_code)
    task = TaskFailure(
        task_key=_line(row.task_key),
        run_id=0,
        termination_code=code,
        termination_type="",
        message="",
        error=_clean(row.error, _MAX_TEXT_CHARACTERS),
        trace=_clean(row.evidence, _MAX_TEXT_CHARACTERS),
    )
    return RunFailure(
        workspace="",
        job_id=0,
        job_name=_line(row.job_name),
        run_id=0,
        url="",
        started_at_seconds=0.0,
        ended_at_seconds=0.0,
        termination_code=code,
        run_type="JOB_RUN",
        trigger="",
        parameters={each["name"]: "" for each in _parameters(row.parameters)},
        tasks=(task,),
    )


def _hypotheses(hypotheses: str) -> list[dict[str, str]]:
    found = [mapping(each) for each in items(_json(hypotheses))[:_MAX_HYPOTHESES]]
    return [{name: _line(text(each.get(name))) for name in ("text", "evidence")} for each in found]


def _parameters(parameters: str) -> list[dict[str, str]]:
    # Redacted as the pair that it is, since only the name may say that the value is a secret.
    given = islice(mapping(_json(parameters)).items(), _MAX_PARAMETERS)
    pairs = (_line(f"{name}={text(value)}").partition("=") for name, value in given)
    return [{"name": name, "value": value} for name, _, value in pairs]


def _json(json_text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(json_text)
    except (ValueError, RecursionError):
        return None


def _line(value: str) -> str:
    return one_line(_clean(value, _MAX_LINE_CHARACTERS)).strip()


def _clean(value: str, limit: int) -> str:
    return _ADDRESS.sub("<address>", without_secrets(replace_lone_surrogates(value[: 4 * limit])))[:limit].strip()
