"""Which of the parameters that a model or a person suggests may be set. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice

from app.common.log_text import one_line
from app.jobs.job_policy import ParameterRule

MAX_PARAMETERS = 20
MAX_VALUE_CHARACTERS = 300
_SHOWN_CHARACTERS = 60
_MAX_NUMBER_CHARACTERS = 40


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
        if name not in declared:
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
