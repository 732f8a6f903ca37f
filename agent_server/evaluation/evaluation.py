"""`mlflow.genai.evaluate` on a data set: one question a row, answers scored by `scorers.py` and by judges."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_server.evaluation.agent_client import AgentClient, AgentClientError
from agent_server.evaluation.scorers import (
    answered,
    called_expected_tools,
    has_expected_facts,
    keeps_secrets,
    total_tokens,
)

Row = dict[str, Any]

_MAX_ROWS = 1_000
# These have to hold for each row that says what it expects.
_REQUIRED = (answered, has_expected_facts, called_expected_tools, keeps_secrets)


class DataSetError(Exception):
    """`str()` says which line of the data set to change."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`metrics` are means by the scorers' names; `failures` are (question, scorer) that did not hold."""

    run_id: str
    metrics: Mapping[str, float]
    failures: Sequence[tuple[str, str]]


def read_data_set(file: Path) -> list[Row]:
    """Lines of JSON: {"question": …} or {"inputs": {"input": …}}, and "expectations" where there are any.

    Raises `DataSetError`.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataSetError(f"{file} cannot be read ({type(error).__name__}).") from None
    rows = [_row(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows or len(rows) > _MAX_ROWS:
        raise DataSetError(f"{file} has {len(rows)} questions; it may have 1 to {_MAX_ROWS}.")
    return rows


def evaluate(rows: Sequence[Row], client: AgentClient, judges: Sequence[Any] = ()) -> Outcome:
    """Asks every question, and writes answers and scores to the active experiment. Raises MLflow's errors.

    `judges` are MLflow's scorers that ask a model.
    """
    import mlflow  # noqa: PLC0415 - it takes seconds
    from mlflow.genai.scorers import scorer  # noqa: PLC0415

    # MLflow would ask the first question twice, to find out whether this is traced.
    os.environ["MLFLOW_GENAI_EVAL_SKIP_TRACE_VALIDATION"] = "true"

    @mlflow.trace(name="answer")  # type: ignore[untyped-decorator]
    def ask(**inputs: Any) -> Row:  # noqa: ANN401 - any request
        try:
            return client.ask(inputs)
        except AgentClientError as error:
            # As an answer that failed: the other questions are asked all the same.
            return {"status": "failed", "output": [], "error": {"message": str(error)}}

    scorers = [scorer(function) for function in (*_REQUIRED, total_tokens)]
    result = mlflow.genai.evaluate(data=list(rows), predict_fn=ask, scorers=[*scorers, *judges])
    return Outcome(result.run_id, result.metrics, _failures(result.result_df))


def judges_of(model: str, guidelines: Sequence[str] = ()) -> list[Any]:
    """MLflow's judges that need nothing but question and answer. `model` as MLflow names it: `databricks`, or
    `endpoints:/NAME`.
    """
    from mlflow.genai.scorers import Guidelines, RelevanceToQuery, Safety  # noqa: PLC0415

    judges: list[Any] = [RelevanceToQuery(model=model), Safety(model=model)]
    if guidelines:
        judges.append(Guidelines(name="guidelines", guidelines=list(guidelines), model=model))
    return judges


def _failures(frame: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - of pandas
    found: list[tuple[str, str]] = []
    for _, row in frame.iterrows():
        for name in (function.__name__ for function in _REQUIRED):
            value = row.get(f"{name}/value")
            # Of numpy, or missing where the row expects nothing of the kind.
            if value in (False, "no"):
                found.append((_question(row.get("request")), name))
    return found


def _question(request: Any) -> str:  # noqa: ANN401 - JSON, as text or not
    value = json.loads(request) if isinstance(request, str) and request.startswith("{") else request
    value = value.get("inputs", value) if isinstance(value, dict) else value
    asked = value.get("input") if isinstance(value, dict) else value
    last = asked[-1] if isinstance(asked, list) and asked else asked
    content = last.get("content") if isinstance(last, dict) else last
    return str(content)[:200]


def _row(file: Path, number: int, line: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise DataSetError(f"{file}, line {number} is no JSON.") from None
    if not isinstance(value, dict):
        raise DataSetError(f"{file}, line {number} is no JSON object.")
    question, inputs, expectations = value.get("question"), value.get("inputs"), value.get("expectations", {})
    if isinstance(question, str) and question.strip() and inputs is None:
        inputs = {"input": [{"role": "user", "content": question}]}
    if not isinstance(inputs, dict) or "input" not in inputs:
        raise DataSetError(f'{file}, line {number} needs "question", or "inputs" with the request\'s "input".')
    _check_expectations(file, number, expectations)
    return {"inputs": inputs, "expectations": expectations}


def _check_expectations(file: Path, number: int, expectations: object) -> None:
    known: dict[str, Callable[[object], bool]] = {"expected_facts": _is_list, "expected_tools": _is_list}
    if not isinstance(expectations, dict):
        raise DataSetError(f'{file}, line {number}: "expectations" is a JSON object.')
    for name, check in known.items():
        if name in expectations and not check(expectations[name]):
            raise DataSetError(f'{file}, line {number}: "{name}" is a list.')


def _is_list(value: object) -> bool:
    return isinstance(value, list)
