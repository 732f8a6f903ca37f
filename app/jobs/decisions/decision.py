"""What is to be done about a failed run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class DecisionAction(StrEnum):
    RETRY = "RETRY"
    RETRY_WITH_PARAMS = "RETRY_WITH_PARAMS"
    ESCALATE_EMAIL = "ESCALATE_EMAIL"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    text: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`cause` is one line; `confidence` is from 0 to 1; `source` is who decided. A retry that is done automatically is
    begun after `delay_seconds`.
    """

    action: DecisionAction
    reason: str
    cause: str
    hypotheses: tuple[Hypothesis, ...]
    suggested_params: Mapping[str, str]
    confidence: float
    source: Literal["model", "prior", "guard rail"]
    delay_seconds: float = 0.0
