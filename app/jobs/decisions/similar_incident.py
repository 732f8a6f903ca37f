"""A past failure that resembles one of today, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimilarIncident:
    """`similarity` is from 0 to 1. `action` and `outcome` are those of its decision record. Texts are untrusted."""

    job_name: str
    error: str
    cause: str
    action: str
    outcome: str
    similarity: float
    was_wrong_diagnosis: bool = False
