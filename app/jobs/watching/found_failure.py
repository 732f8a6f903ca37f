"""A failed run with all that a pass knows of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.jobs.decisions.decision import Decision
from app.jobs.decisions.guard_rails import GuardedDecision
from app.jobs.job_policy import JobPolicy, WatchMode
from app.jobs.runs.causing_error import normalised_error
from app.jobs.runs.look import EndedRun
from app.jobs.runs.run_failure import RunFailure


@dataclass(frozen=True, slots=True)
class FoundFailure:
    """`mode` is that of the policy, or a lower one where the pass may not act. `observed` is what a second strategy
    decided, which never acts. `model` names who was asked.
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

    @property
    def fingerprint(self) -> str:
        return error_fingerprint(self.failure)


def error_fingerprint(failure: RunFailure) -> str:
    """The same for failures with the same normalised error and codes, of whichever job; a failure that says nothing is
    like others of its own job alone.
    """
    first = failure.tasks[0] if failure.tasks else None
    error = normalised_error(first.error or first.message) if first is not None else ""
    cluster = first.cluster.code if first is not None and first.cluster is not None else ""
    code = first.termination_code if first is not None else failure.termination_code
    own = "" if error or cluster else str(failure.job_id)
    return hashlib.sha256("\n".join((code, cluster, error, own)).encode("utf-8", "replace")).hexdigest()[:24]
