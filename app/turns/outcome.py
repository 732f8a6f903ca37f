"""How one attempt to answer a turn ended, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Closed:
    """The person has the end, and the turn is closed, or somebody who claims it finds that it was being sent."""


@dataclass(frozen=True, slots=True)
class ContinuedElsewhere:
    """Another worker has claimed the turn."""


@dataclass(frozen=True, slots=True)
class Release:
    """A worker may claim the turn after `after` seconds."""

    after: float = 0.0
    counts_as_attempt: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """The turn is to be closed; `error` is raised after that, if there is one."""

    error: Exception | None


Outcome = Closed | ContinuedElsewhere | Release | Failed
