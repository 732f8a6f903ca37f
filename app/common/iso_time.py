"""Moments as text."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_time(seconds: float) -> str:
    """In ISO 8601, UTC; empty for never."""
    return f"{datetime.fromtimestamp(min(seconds, 4e9), UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds > 0 else ""
