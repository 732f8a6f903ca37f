"""What is asked of a repair, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

RetryOutcome = Literal["active", "succeeded", "failed", "canceled", "unknown"]
"""`unknown` where the run is gone or may not be seen any more."""


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """`id` is the idempotency key. `ended_at_seconds` is that of the attempt that failed, so that a later attempt is
    not taken for it. `parameters` are those that change; `tasks` are empty for all that failed. `run_parameters` are
    all of the run as they were when it failed, for the case that it is gone by now; None where they are not known.
    """

    id: str
    run_id: int
    job_id: int
    ended_at_seconds: float
    parameters: Mapping[str, str] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    performance_target: str = ""
    run_parameters: Mapping[str, str] | None = None

    @property
    def has_changes(self) -> bool:
        return bool(self.parameters or self.performance_target)


@dataclass(frozen=True, slots=True)
class StartedRetry:
    """A repair of `run_id`, or a run of its own. `repair_id` is 0 for the latter, and where the service does not name
    the repair yet. `by_us`: False where somebody else began it.
    """

    kind: Literal["repair", "run"]
    run_id: int
    repair_id: int = 0
    by_us: bool = True


@dataclass(frozen=True, slots=True)
class RepairResult:
    """One of: `started`; `refusal`, a sentence for a person, where asking again would be refused again; or neither,
    where it is not known yet whether it was begun, or the service asks for patience: ask again with the same request.

    `note` is a sentence for a person about what was started, where it is no repair of ours.
    """

    started: StartedRetry | None = None
    refusal: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class RetryAttempts:
    """The larger of what our store and the service itself have of a run: repairs, retries of the job, runs that we
    began for it. Those with other parameters are counted in both.
    """

    retries: int
    retries_with_params: int
