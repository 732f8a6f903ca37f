"""The settings of turns: how long an answer may take, and when another worker goes on with it."""

from __future__ import annotations

from typing import ClassVar

from app.settings.section import Section, setting


class TurnSettings(Section):
    title: ClassVar[str] = "Turns: how long an answer may take"

    timeout_seconds: float = setting(
        "TURN_TIMEOUT_SECONDS",
        default=300,
        gt=0,
        le=3600,
        description="the time limit of an answer, in seconds (up to 3600)",
    )
    lease_seconds: float = setting(
        "TURN_LEASE_SECONDS",
        default=30,
        ge=2,
        le=600,
        description="the time until another worker continues the answer of a lost worker, in seconds (2 to 600)",
    )
