"""An incident: what failed for one cause, what is proposed, who took it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.jobs.decisions.decision import Decision
from app.jobs.job_policy import Person, WatchMode
from app.jobs.runs.run_failure import RunFailure

IncidentKind = Literal["failure", "late", "never_started", "too_long"]
NoticeKind = Literal[
    "opened",
    "repeated",
    "proposed",
    "decided",
    "retry_started",
    "retry_refused",
    "retry_failed",
    "recovered",
    "escalated",
    "changed",
    "expired",
]
ProposedAction = Literal["RETRY", "RETRY_WITH_PARAMS", "CANCEL"]

CHECK_SECONDS = 60.0
PROPOSAL_SECONDS = 24 * 3600.0
"""A proposal that nobody answers expires then."""


class IncidentState(StrEnum):
    """The last three are closed: the same failure opens another incident.

    `OPEN` waits for nobody here, `PROPOSED` for an approver, `DELAYED` for the moment of an automatic retry, `APPROVED`
    for the retry to be begun, `RETRYING` for its end, `ESCALATED` for a person outside.
    """

    OPEN = "open"
    PROPOSED = "proposed"
    DELAYED = "delayed"
    APPROVED = "approved"
    RETRYING = "retrying"
    ESCALATED = "escalated"
    RECOVERED = "recovered"
    SKIPPED = "skipped"
    CLOSED = "closed"

    @property
    def is_closed(self) -> bool:
        return self in {IncidentState.RECOVERED, IncidentState.SKIPPED, IncidentState.CLOSED}


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


class IncidentRun(_Stored):
    """`key` names this ended attempt of the run, also after repairs. `may_retry`: a retry of the incident is one of
    this run too.
    """

    key: str
    run_id: int
    job_id: int
    job_name: str
    url: str
    ended_at_seconds: float
    may_retry: bool = False


class Proposal(_Stored):
    """`id` is opaque. `parameters` are those that change, by name. Times are in seconds since 1970.

    `tasks`: empty for all that failed. `reason_not_automatic` is a sentence, empty where the mode alone asks a person.
    """

    id: str
    action: ProposedAction
    run_id: int
    parameters: Mapping[str, str] = {}
    performance_target: str = ""
    tasks: tuple[str, ...] = ()
    expires_at_seconds: float
    reason_not_automatic: str = ""


class Retry(_Stored):
    """A retry that was begun: a repair of `run_id` (`repair_id`), or a run of its own (0). `proposal` is the id of what
    was approved, and `of_run` the key of the run that had failed. `approved_by` is empty where it was automatic.
    `by_us`: False where somebody else had begun it before. `outcome` is "" while it runs.
    """

    id: str
    proposal: str
    of_run: str
    kind: Literal["repair", "run"]
    run_id: int
    repair_id: int = 0
    parameters: Mapping[str, str] = {}
    started_at_seconds: float
    approved_by: str = ""
    by_us: bool = True
    outcome: Literal["", "succeeded", "failed", "canceled", "unknown"] = ""
    ended_at_seconds: float = 0.0


class PendingNotice(_Stored):
    """Of something that happened and that nobody was told yet. `id` is its idempotency key."""

    id: str
    kind: NoticeKind
    at_seconds: float
    text: str = ""


class Incident(_Stored):
    """`failure` is that of the first run, its traces cut; it stands for all. `error_fingerprint` is the same for the
    same normalised error. `job_tags` are those of the job when it failed, since a policy may be for a tag. Times are in
    seconds since 1970; 0 is never.
    """

    id: str
    kind: IncidentKind = "failure"
    workspace: str
    job_id: int
    job_name: str
    job_tags: Mapping[str, str] = {}
    error_fingerprint: str
    state: IncidentState
    mode: WatchMode
    failure: RunFailure
    decision: Decision
    runs: tuple[IncidentRun, ...]
    run_count: int
    opened_at_seconds: float
    changed_at_seconds: float
    rule: str = ""
    proposal: Proposal | None = None
    retries: tuple[Retry, ...] = ()
    notices: tuple[PendingNotice, ...] = ()
    act_at_seconds: float = 0.0
    snoozed_until_seconds: float = 0.0
    decided_by: Person | None = None
    acknowledged_by: Person | None = None
    assigned_to: str = ""
    note: str = ""
    wrong_diagnosis_by: tuple[Person, ...] = ()

    @property
    def job_ids(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys([self.job_id, *(run.job_id for run in self.runs)]))

    @property
    def has_open_retries(self) -> bool:
        return any(not each.outcome for each in self.retries)

    @property
    def due_at_seconds(self) -> float | None:
        """When a pass has to look at it again; None for one that is closed and told."""
        moments = []
        if self.notices:
            moments.append(max(self.changed_at_seconds, self.snoozed_until_seconds))
        if self.state is IncidentState.PROPOSED and self.proposal is not None:
            moments.append(self.proposal.expires_at_seconds)
        if self.state is IncidentState.DELAYED:
            moments.append(self.act_at_seconds)
        if self.state is IncidentState.APPROVED:
            moments.append(self.changed_at_seconds)
        if self.state is IncidentState.RETRYING or self.has_open_retries:
            moments.append(self.changed_at_seconds + CHECK_SECONDS)
        return min(moments, default=None)
