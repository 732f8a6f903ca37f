"""What may be done about the failures of a job, and who decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from app.jobs.quiet_hours import QuietHours


class WatchMode(StrEnum):
    """`OBSERVE` only tells; `APPROVE` repairs what a person approved; `AUTO` repairs within the guard rails."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Person:
    """By their ids in Microsoft Entra; `name` and `email` are for mentions and mail alone, and grant nothing."""

    tenant_id: str
    entra_object_id: str
    name: str = ""
    email: str = ""

    def is_same(self, tenant_id: str, entra_object_id: str) -> bool:
        mine = (self.tenant_id.casefold(), self.entra_object_id.casefold())
        return all(mine) and mine == (tenant_id.casefold(), entra_object_id.casefold())


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """A job parameter that may be changed. Numbers lie within the bounds; text is one of `choices`."""

    name: str
    type: Literal["integer", "number", "boolean", "text"]
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobPolicy:
    """`is_rerun_safe` is the owner's word that running twice does no harm. Without `max_minutes` a run is too long by
    the job's history, without `max_late_minutes` nothing is late. In `quiet_hours` people are told of little.
    """

    mode: WatchMode = WatchMode.OBSERVE
    is_rerun_safe: bool = False
    parameters: tuple[ParameterRule, ...] = ()
    max_retry_attempts: int = 3
    retry_with_params_attempts: int = 2
    failures_in_a_row: int = 1
    max_minutes: float | None = None
    max_late_minutes: float | None = None
    approvers: tuple[Person, ...] = ()
    viewers: tuple[Person, ...] = ()
    owners: tuple[Person, ...] = ()
    escalation_emails: tuple[str, ...] = ()
    quiet_hours: QuietHours | None = None


PolicyOf = Callable[[int, str, Mapping[str, str]], JobPolicy]
"""Of the job with this id, name and tags."""
