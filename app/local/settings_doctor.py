"""Finds every problem of this machine's settings at once: what is wrong, in which file, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.common.printable import printable
from app.config import Settings, SettingsError, is_job_watch_on, load_settings
from app.jobs.environment import all_setting_names, load_watch_settings
from app.local.local_settings import FILE_NAME, LocalSettingsError, read_local_settings, workspace_is_configured

# Read by the Functions host, its worker, databricks-sdk and Python, not by the agent.
_OTHER_PREFIXES = (
    *("FUNCTIONS_", "AzureWebJobs", "AzureFunctions", "WEBSITE_", "AZURE_", "ARM_", "PYTHON", "OTEL_", "SCM_", "LOG"),
    *("DATABRICKS_HOST", "DATABRICKS_ACCOUNT_ID", "DATABRICKS_CLUSTER_ID", "DATABRICKS_WAREHOUSE_ID"),
    *("DATABRICKS_CONFIG_FILE", "DATABRICKS_RUNTIME_VERSION", "DATABRICKS_CLI_PATH", "DATABRICKS_METADATA_SERVICE_URL"),
    *("DATABRICKS_AZURE_", "DATABRICKS_SDK_", "DATABRICKS_USERNAME", "DATABRICKS_PASSWORD", "HTTP", "NO_PROXY"),
)
# In the environment only names with these prefixes are checked for typing errors.
_OUR_PREFIXES = (
    "DATABRICKS_",
    "JOB_WATCH_",
    "MICROSOFTAPP",
    "BOT_",
    "OPENAI_",
    "HISTORY_",
    "TURN_",
    "CONVERSATION_",
    "TELEMETRY_",
)
_SIMILARITY, _HIGH_SIMILARITY = 0.8, 0.9
_CREDENTIALS = ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_ID", "DATABRICKS_CONFIG_PROFILE", "DATABRICKS_AUTH_TYPE")
_STAND_IN = {"DATABRICKS_BASE_URL": "http://127.0.0.1/serving-endpoints", "DATABRICKS_MODEL_NAME": "stand-in"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`wrong`: it keeps the bot from answering; else it is a note. Holds no value that was set."""

    what: str
    fix: str
    wrong: bool = True

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


class LocalSettings:
    """The environment, and `local.settings.json` for what it lacks. Raises `LocalSettingsError`."""

    def __init__(self, environment: Mapping[str, str], root: Path) -> None:
        self.in_environment = dict(environment)
        self.in_file = read_local_settings(root)
        self.values = {**self.in_file, **environment}

    def source_of(self, name: str) -> str:
        """Where the value comes from, or should be put."""
        return "the environment" if self.in_environment.get(name) else FILE_NAME

    def validated(self) -> Settings:
        """Raises `app.config.SettingsError`."""
        values = self.values if workspace_is_configured(self.values) else {**self.values, **_STAND_IN}
        if is_job_watch_on(values):
            load_watch_settings(values)
        return load_settings(values)

    def findings(self) -> list[Finding]:
        return [*self._unknown_names(), *self._invalid(), *self._without_a_workspace(), *self._overridden()]

    def _unknown_names(self) -> Iterable[Finding]:
        known = all_setting_names()
        for name, value in {**self.in_environment, **self.in_file}.items():
            from_file = name in self.in_file
            if name in known or name.startswith(_OTHER_PREFIXES) or not value.strip():
                continue
            if not from_file and not name.upper().startswith(_OUR_PREFIXES):
                continue
            shown = f"{printable(name)[:80]} in {FILE_NAME if from_file else 'the environment'}"
            similar = _similar(name, known, _SIMILARITY if from_file else _HIGH_SIMILARITY)
            if similar is not None:
                yield Finding(f"{shown} is not a setting of the agent", f"did you mean {similar}?", wrong=from_file)
            elif from_file:
                yield Finding(f"{shown} is not a setting of the agent", "docs/settings.md lists them all", wrong=False)

    def _invalid(self) -> Iterable[Finding]:
        try:
            self.validated()
        except SettingsError as error:
            for problem in error.problems:
                name, _, rest = problem.partition(": ")
                fault, _, fix = rest.partition("; ")
                yield Finding(f"{name} in {self.source_of(name)}: {fault}", fix)

    def _without_a_workspace(self) -> Iterable[Finding]:
        credential = next((name for name in _CREDENTIALS if self.values.get(name, "").strip()), None)
        if credential is not None and not workspace_is_configured(self.values):
            yield Finding(
                f"{credential} in {self.source_of(credential)} is set, but no workspace, so the stand-in model answers",
                f"put DATABRICKS_BASE_URL and DATABRICKS_MODEL_NAME in {FILE_NAME} to ask yours",
                wrong=False,
            )

    def _overridden(self) -> Iterable[Finding]:
        """Values of the file that the environment overrides."""
        for name, value in self.in_file.items():
            if value and self.in_environment.get(name, value) != value and name in all_setting_names():
                yield Finding(
                    f"{name} in {FILE_NAME} is not used, because the environment has another value of it",
                    f"unset {name} in the environment to use that of the file",
                    wrong=False,
                )


def _similar(name: str, known: Iterable[str], least: float) -> str | None:
    folded = {each.upper(): each for each in known}
    found = difflib.get_close_matches(name.upper()[:80], folded, n=1, cutoff=least)
    return folded[found[0]] if found else None


def settings_findings(environment: Mapping[str, str], root: Path) -> list[Finding]:
    try:
        return LocalSettings(environment, root).findings()
    except LocalSettingsError as error:
        return [Finding(f"{root / FILE_NAME} cannot be used", str(error))]
