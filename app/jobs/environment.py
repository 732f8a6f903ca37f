"""The settings of the job watch, in any process: the environment, and a `.env` file for what it lacks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from app.config import HostSettings, SettingsError, load_sections, setting_names
from app.databricks.workspace_url import WorkspaceUrl
from app.settings.azure_openai_settings import AzureOpenAISettings
from app.settings.databricks_settings import DatabricksSettings
from app.settings.job_notice_settings import JobNoticeSettings
from app.settings.job_watch_settings import JobWatchSettings
from app.settings.mail_settings import MailSettings
from app.settings.section import setting
from app.settings.storage_settings import StorageSettings
from app.storage.storage_account import StorageAccount

ENV_FILE = Path(".env")


class WatchedWorkspaceSettings(DatabricksSettings):
    """Without a model, Azure OpenAI is asked or none."""

    base_url: str = setting("DATABRICKS_BASE_URL", description="the workspace; DATABRICKS_HOST is enough")
    model_name: str = setting(
        "DATABRICKS_MODEL_NAME", default="", description="the name of the serving endpoint that answers"
    )


class WatchSettings(HostSettings):
    """What a process needs that watches jobs: no bot."""

    job_watch: JobWatchSettings
    notices: JobNoticeSettings
    mail: MailSettings
    azure_openai: AzureOpenAISettings
    databricks: WatchedWorkspaceSettings
    storage: StorageSettings

    @property
    def workspace_url(self) -> str:
        """`https://<workspace>`, where the jobs are; it names the workspace in the store too."""
        return self.job_watch.host or WorkspaceUrl.parse(self.databricks.base_url).host

    @property
    def store(self) -> Path | StorageAccount | None:
        """Where incidents are kept; None where nothing outlives the process."""
        if self.job_watch.store is not None:
            return _store(self.job_watch.store.get_secret_value(), self.storage.client_id)
        storage = self.storage
        if storage.uses_storage_account:
            return StorageAccount(
                connection_string=storage.connection_string,
                tables=storage.table_service_uri or "",
                queues=storage.queue_service_uri or "",
                blobs=storage.blob_service_uri or "",
                client_id=storage.client_id,
            )
        return None


class _AzureOpenAI(HostSettings):
    azure_openai: AzureOpenAISettings


def all_setting_names() -> dict[str, str]:
    """Those of the Function App with its job watch: every setting's name and what to put there."""
    return setting_names(WatchSettings) | setting_names()


def load_watch_settings(environment: Mapping[str, str] | None = None) -> WatchSettings:
    """`environment` is that of the process by default, with `.env` for what it lacks.

    Raises `SettingsError` with every problem at once.
    """
    given = _of_the_process() if environment is None else dict(environment)
    host, base_url = given.get("DATABRICKS_HOST", "").strip(), given.get("DATABRICKS_BASE_URL", "").strip()
    if host and not _is_of(host, base_url):
        given["DATABRICKS_BASE_URL"] = host if "://" in host else f"https://{host}"
    try:
        return load_sections(WatchSettings, given)
    except SettingsError as error:
        # The Function App's own settings name the other.
        if environment is not None or host or base_url:
            raise
        others = [each for each in error.problems if not each.startswith("DATABRICKS_BASE_URL:")]
        raise SettingsError(
            ["DATABRICKS_HOST: missing; put the workspace, such as https://adb-1.2.azuredatabricks.net", *others]
        ) from None


def _is_of(host: str, base_url: str) -> bool:
    """Whether the model's address is of this workspace: an app or another workspace is not."""
    try:
        return WorkspaceUrl.parse(base_url).host == WorkspaceUrl.parse(host).host
    except ValueError:
        # What is wrong with either is said by its own check.
        return bool(base_url)


def load_azure_openai_settings() -> AzureOpenAISettings:
    """Those of the process alone, which needs no workspace. Raises `SettingsError`."""
    return load_sections(_AzureOpenAI, _of_the_process()).azure_openai


def read_env_file(file: Path) -> dict[str, str]:
    """Empty where there is no such file. Raises `SettingsError`."""
    if not file.is_file():
        return {}
    from dotenv import dotenv_values  # noqa: PLC0415 - only a process outside of Azure Functions reads one

    try:
        # A password may hold a $.
        values = dotenv_values(file, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise SettingsError([f"{file}: cannot be read ({type(error).__name__}); make it a UTF-8 text file"]) from None
    return {name: value for name, value in values.items() if value}


def _of_the_process() -> dict[str, str]:
    return read_env_file(ENV_FILE) | {name: value for name, value in os.environ.items() if value.strip()}


def _store(text: str, client_id: str | None) -> Path | StorageAccount:
    value = text.strip()
    if value.startswith("https://"):
        tables = value.rstrip("/")
        return StorageAccount(
            tables=tables,
            queues=tables.replace(".table.", ".queue.", 1),
            blobs=tables.replace(".table.", ".blob.", 1),
            client_id=client_id,
        )
    if ";" in value or value.lower().startswith("usedevelopmentstorage"):
        return StorageAccount(connection_string=SecretStr(value))
    path = Path(value).expanduser()
    return path / "job_watch.sqlite" if path.is_dir() else path
