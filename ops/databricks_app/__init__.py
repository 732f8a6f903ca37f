"""The agent server as a Databricks App: the folder that is uploaded, its start, its deployment, its access."""

from __future__ import annotations


class AppError(Exception):
    """The app cannot be made, started or deployed; `str()` says why and what to do."""
