"""Which of the parameters that a model or a person suggests may be set. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from app.common.log_text import one_line
from app.jobs.decisions.compute_parameters import names_compute
from app.jobs.job_policy import ParameterRule
from app.jobs.runs.run_failure import RunFailure

PERFORMANCE_TARGET: Final = "performance_target"
"""No parameter of the job: what a repair or a run on serverless compute can be asked for beside them."""

MAX_PARAMETERS = 20
MAX_VALUE_CHARACTERS = 300
_SHOWN_CHARACTERS = 60
_MAX_NUMBER_CHARACTERS = 40


def changeable_parameters(failure: RunFailure) -> Mapping[str, str]:
    """What a retry of the run can change, as it is now; "" where that is not known."""
    return {PERFORMANCE_TARGET: "", **failure.parameters} if failure.is_serverless else failure.parameters


def without_performance_target(parameters: Mapping[str, str], failure: RunFailure) -> tuple[Mapping[str, str], str]:
    """The parameters of the job among them, and the performance target, "" where none is asked for."""
    if PERFORMANCE_TARGET in failure.parameters or PERFORMANCE_TARGET not in parameters:
        return parameters, ""
    others = {name: value for name, value in parameters.items() if name != PERFORMANCE_TARGET}
    return others, parameters[PERFORMANCE_TARGET]


def allowed_parameters(
    suggested: Mapping[str, str], declared: Mapping[str, str], rules: Sequence[ParameterRule]
) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """What may be set, written as the job takes it, and a sentence for each other one. `declared` are the parameters
    of the job: a run takes no other.
    """
    by_name = {rule.name: rule for rule in rules}
    allowed: dict[str, str] = {}
    problems: list[str] = []
    for name, value in islice(suggested.items(), MAX_PARAMETERS):
        rule, shown = by_name.get(name), _shown(name)
        if name == PERFORMANCE_TARGET and name not in declared:
            problems.append(f"{PERFORMANCE_TARGET} can be changed on serverless compute alone.")
        elif name not in declared and names_compute(name):
            only = "a retry changes job parameters only, never a cluster: edit the job."
            problems.append(f"The job declares no parameter {shown}, and {only}")
        elif name not in declared:
            problems.append(f"The job declares no parameter {shown}.")
        elif rule is None:
            problems.append(f"{shown} may not be changed: JOB_WATCH_ALLOW does not name it for this job.")
        elif (problem := _problem(value, rule)) is not None:
            problems.append(f"{shown} may not be {_shown(value)}: {problem}.")
        else:
            allowed[name] = value.strip()
    if len(suggested) > MAX_PARAMETERS:
        problems.append(f"More than {MAX_PARAMETERS} parameters are not changed at once.")
    return allowed, tuple(problems)


def _problem(value: str, rule: ParameterRule) -> str | None:
    value = value.strip()
    if len(value) > MAX_VALUE_CHARACTERS:
        return "it is too long"
    if rule.type == "boolean":
        return None if value in {"true", "false"} else "it is true or false"
    if rule.type == "text":
        return None if value in rule.choices else f"it is one of {', '.join(map(_shown, rule.choices[:10]))}"
    number = _number(value, whole=rule.type == "integer")
    if number is None:
        return "it is a whole number" if rule.type == "integer" else "it is a number"
    if rule.minimum is not None and number < rule.minimum:
        return f"it is at least {rule.minimum:g}"
    if rule.maximum is not None and number > rule.maximum:
        return f"it is at most {rule.maximum:g}"
    return None


def _number(value: str, *, whole: bool) -> float | None:
    # Python also reads 1_000, ٣ and " 1", which jobs do not.
    if not value.isascii() or "_" in value or len(value) > _MAX_NUMBER_CHARACTERS:
        return None
    try:
        number = float(int(value)) if whole else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _shown(text: str) -> str:
    line = one_line(text[: 4 * _SHOWN_CHARACTERS])
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"
