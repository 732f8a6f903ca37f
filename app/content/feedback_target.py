"""Where else a rating of an answer counts: at the trace of an agent's answer, at a message of Genie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_FEEDBACK_TARGETS = 10
"""Of one answer."""


@dataclass(frozen=True, slots=True)
class TraceTarget:
    """An MLflow trace: `tr-…`, or `trace:/<catalog>.<schema>/<id>` where traces are kept in Unity Catalog."""

    trace_id: str
    kind: Literal["trace"] = "trace"


@dataclass(frozen=True, slots=True)
class GenieTarget:
    """A message that Genie answered, asked as the app."""

    space_id: str
    conversation_id: str
    message_id: str
    kind: Literal["genie"] = "genie"


FeedbackTarget = TraceTarget | GenieTarget
