"""Reads the decision that a model wrote. Pure; whatever the model writes is untrusted."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.common.json_values import items, mapping, text
from app.common.log_text import one_line
from app.jobs.decisions.decision import DecisionAction, Hypothesis
from app.models.model import AnswerSchema
from app.tools.redaction import without_secrets

_MAX_REASON_CHARACTERS = 600
_MAX_CAUSE_CHARACTERS = 300
_MAX_HYPOTHESES = 3
_MAX_PARAMETERS = 20
_MAX_NAME_CHARACTERS = 100
_MAX_VALUE_CHARACTERS = 300
_MAX_ANSWER_CHARACTERS = 50_000
_MAX_BEGINNINGS = 20

_TEXT = {"type": "string"}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


DECISION_ANSWER = AnswerSchema(
    "decision",
    _object(
        {
            "hypotheses": {"type": "array", "items": _object({"text": _TEXT, "evidence": _TEXT})},
            "cause": _TEXT,
            "decision": {"type": "string", "enum": [each.value for each in DecisionAction]},
            "reason": _TEXT,
            "suggested_params": {"type": "array", "items": _object({"name": _TEXT, "value": _TEXT})},
            "confidence": {"type": "number"},
        }
    ),
)
"""Models think as they write: what is found comes before what is decided."""


class MalformedAnswerError(Exception):
    """The answer is no decision. Its text says what is wrong with it, and quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """On one line each, bounded, without secrets. `confidence` is from 0 to 1."""

    action: DecisionAction
    reason: str
    cause: str
    hypotheses: tuple[Hypothesis, ...]
    suggested_params: Mapping[str, str]
    confidence: float


def read_answer(answer: str) -> ModelAnswer:
    """Takes the JSON alone, in a fence or with words around it. Raises MalformedAnswerError."""
    told = _json_object(answer[:_MAX_ANSWER_CHARACTERS])
    reason = _line(told.get("reason"), _MAX_REASON_CHARACTERS)
    cause = _line(told.get("cause"), _MAX_CAUSE_CHARACTERS)
    if not reason or not cause:
        raise MalformedAnswerError("reason and cause have to be texts")
    return ModelAnswer(
        action=_action(told.get("decision")),
        reason=reason,
        cause=cause,
        hypotheses=tuple(_hypotheses(told.get("hypotheses"))),
        suggested_params=dict(_parameters(told.get("suggested_params"))),
        confidence=_confidence(told.get("confidence")),
    )


def _json_object(answer: str) -> Mapping[str, Any]:
    decisions = list(_decisions_in(answer))
    if len(decisions) > 1:
        # One of them may be quoted from a log.
        raise MalformedAnswerError("it holds more than one decision")
    if not decisions:
        raise MalformedAnswerError("it is no JSON object with a decision")
    return decisions[0]


def _decisions_in(answer: str) -> Iterator[Mapping[str, Any]]:
    decoder = json.JSONDecoder()
    start = answer.find("{")
    for _ in range(_MAX_BEGINNINGS):
        if start < 0:
            return
        end = start + 1
        try:
            found, end = decoder.raw_decode(answer, start)
            if "decision" in mapping(found):
                yield mapping(found)
        except (ValueError, RecursionError):
            pass
        start = answer.find("{", end)


def _action(value: object) -> DecisionAction:
    name = text(value).strip().upper().replace(" ", "_").replace("-", "_")
    try:
        return DecisionAction("ESCALATE_EMAIL" if name == "ESCALATE" else name)
    except ValueError:
        names = ", ".join(each.value for each in DecisionAction)
        raise MalformedAnswerError(f"decision has to be one of {names}") from None


def _hypotheses(value: object) -> Iterator[Hypothesis]:
    for each in items(value)[:_MAX_HYPOTHESES]:
        said = {"text": each} if isinstance(each, str) else mapping(each)
        if hypothesis := _line(said.get("text"), _MAX_CAUSE_CHARACTERS):
            yield Hypothesis(hypothesis, _line(said.get("evidence"), _MAX_REASON_CHARACTERS))


def _parameters(value: object) -> Iterator[tuple[str, str]]:
    """A list of names and values as the schema has it, or the object that models without schemas write."""
    pairs = (
        [(mapping(each).get("name"), mapping(each).get("value")) for each in value]
        if isinstance(value, list)
        else list(mapping(value).items())
    )
    for name, given in pairs[:_MAX_PARAMETERS]:
        written = _written(given)
        if isinstance(name, str) and name and len(name) <= _MAX_NAME_CHARACTERS and written is not None:
            yield one_line(name), one_line(written)


def _written(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        # Python refuses to write a whole number of thousands of digits.
        written = str(value) if not isinstance(value, int) or value.bit_length() < 1_000 else ""
        return written if 0 < len(written) <= _MAX_VALUE_CHARACTERS else None
    return None


def _confidence(value: object) -> float:
    """Of a number, a number as text, or a percentage."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if 1.0 < number <= 100.0:
        number /= 100.0
    if not 0.0 <= number <= 1.0:
        raise MalformedAnswerError("confidence has to be a number from 0 to 1")
    return number


def _line(value: object, most_characters: int) -> str:
    line = one_line(without_secrets(text(value)[: 4 * most_characters]))
    return line if len(line) <= most_characters else f"{line[: most_characters - 1]}…"
