"""Watches Databricks jobs: why a run failed, what is done about it, and who is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.jobs.azure_openai_client import AzureOpenAIClient as AzureOpenAIClient
    from app.jobs.databricks_agent import DatabricksAgent as DatabricksAgent
    from app.jobs.databricks_connector import DatabricksConnector as DatabricksConnector
    from app.jobs.email_notifier import EmailNotifier as EmailNotifier
    from app.jobs.error_decision_engine import ErrorDecisionEngine as ErrorDecisionEngine
    from app.jobs.history.decision_record import DECISION_SCHEMA as DECISION_SCHEMA

_MODULES = {
    "AzureOpenAIClient": "azure_openai_client",
    "DatabricksAgent": "databricks_agent",
    "DatabricksConnector": "databricks_connector",
    "EmailNotifier": "email_notifier",
    "ErrorDecisionEngine": "error_decision_engine",
    "DECISION_SCHEMA": "history.decision_record",
}


def __getattr__(name: str) -> object:
    """Imported when it is asked for: the bot needs a few of these modules, and starts often."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
