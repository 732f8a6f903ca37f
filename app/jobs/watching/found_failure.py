"""A failed run with all that a pass knows of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.jobs.decisions.decision import Decision
from app.jobs.decisions.guard_rails import GuardedDecision
from app.jobs.job_policy import JobPolicy, WatchMode
from app.jobs.runs.error_fingerprint import error_fingerprint
from app.jobs.runs.look import EndedRun
from app.jobs.runs.run_failure import RunFailure


@dataclass(frozen=True, slots=True)
class FoundFailure:
    """`mode` is that of the policy, or a lower one where the pass may not act. `observed` is what a second strategy
    decided, which never acts. `model` names who was asked. `was_retried`: for an incident that is open.
    """

    run: EndedRun
    failure: RunFailure
    policy: JobPolicy
    mode: WatchMode
    guarded: GuardedDecision
    decided: Decision
    model: str = ""
    observed: Decision | None = None
    observed_model: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    was_retried: bool = False

    @property
    def fingerprint(self) -> str:
        return error_fingerprint(self.failure)
