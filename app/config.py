"""Every setting, validated once at start. Names are those of Azure application settings and `local.settings.json`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.common.net import is_loopback
from app.settings.bot_settings import BotSettings
from app.settings.cross_field_checks import problems_among
from app.settings.setting import GUID, setting

DEFAULT_SYSTEM_PROMPT = (
    "You are a helpful assistant for people who work with data in Databricks. "
    "Answer in the language of the question, briefly, in Markdown. Say so when you do not know."
)

ModelApi = Literal["auto", "chat", "responses"]

_SERVICE_URI = r"^https://[A-Za-z0-9.-]+/?$"
# Ours first, then those of databricks-sdk.
AUTH_TYPES = (
    "azure-managed-identity",
    "azure-cli",
    "azure-client-secret",
    "azure-devops-oidc",
    "basic",
    "databricks-cli",
    "env-oidc",
    "external-browser",
    "file-oidc",
    "github-oidc",
    "github-oidc-azure",
    "google-credentials",
    "google-id",
    "metadata-service",
    "model-serving",
    "oauth-m2m",
    "pat",
    "runtime",
    "runtime-oauth",
)


class SettingsError(Exception):
    """Every missing or invalid setting, one line each: its name and what to put there. Holds no value that was set."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("These settings need attention:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = tuple(problems)


class Settings(BotSettings, BaseSettings):
    model_config = SettingsConfigDict(
        case_sensitive=True, extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    databricks_base_url: str = setting(
        "DATABRICKS_BASE_URL", description="the workspace, for example https://<workspace>/serving-endpoints"
    )
    databricks_model_name: str = setting(
        "DATABRICKS_MODEL_NAME", min_length=1, description="the name of the serving endpoint that answers"
    )
    databricks_api: ModelApi = setting(
        "DATABRICKS_API", default="auto", description="chat, responses, or auto: as the endpoint's task says"
    )
    databricks_token: SecretStr | None = setting(
        "DATABRICKS_TOKEN", default=None, description="a personal access token"
    )
    databricks_client_id: str | None = setting(
        "DATABRICKS_CLIENT_ID", default=None, description="an OAuth service principal's client id"
    )
    databricks_client_secret: SecretStr | None = setting(
        "DATABRICKS_CLIENT_SECRET", default=None, description="that service principal's secret"
    )
    databricks_auth_type: str | None = setting(
        "DATABRICKS_AUTH_TYPE",
        default=None,
        pattern=f"^({'|'.join(AUTH_TYPES)})$",
        description="azure-managed-identity for the bot's own identity, or a method of databricks-sdk",
    )
    databricks_config_profile: str | None = setting(
        "DATABRICKS_CONFIG_PROFILE", default=None, description="a profile in .databrickscfg, on a developer's machine"
    )

    system_prompt: str = setting(
        "SYSTEM_PROMPT",
        default=DEFAULT_SYSTEM_PROMPT,
        left_out="a short prompt for people who work with data",
        description="what the model is told before every conversation",
    )
    max_tokens: int | None = setting(
        "OPENAI_MAX_TOKENS",
        left_out="the endpoint's own limit",
        default=None,
        ge=1,
        le=1_000_000,
        description="the longest answer, in tokens (1 to 1000000)",
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = setting(
        "OPENAI_TEMPERATURE",
        left_out="the endpoint's own",
        default=None,
        description="how freely the model chooses its words, from 0 to 2",
    )
    databricks_tools: bool = setting(
        "DATABRICKS_TOOLS",
        default=True,
        description="false offers the model no tools; a model that refuses them is noticed without this",
    )
    max_answer_characters: int = setting(
        "MAX_ANSWER_CHARACTERS",
        default=100_000,
        ge=1000,
        le=1_000_000,
        description="where an answer is cut off and marked as incomplete, in characters (1000 to 1000000)",
    )
    history_token_budget: int = setting(
        "HISTORY_TOKEN_BUDGET",
        default=3000,
        ge=0,
        le=1_000_000,
        description="how much of the conversation the model is given again, in tokens (0 to 1000000)",
    )
    turn_timeout_seconds: float = setting(
        "TURN_TIMEOUT_SECONDS",
        default=300,
        gt=0,
        le=3600,
        description="the time limit of an answer, in seconds (up to 3600)",
    )
    turn_lease_seconds: float = setting(
        "TURN_LEASE_SECONDS",
        default=30,
        ge=2,
        le=600,
        description="how soon another worker continues an answer whose own worker has vanished, in seconds (2 to 600)",
    )
    retention_days: int = setting(
        "CONVERSATION_RETENTION_DAYS",
        default=30,
        ge=1,
        le=3650,
        description="how long conversations are kept, in days (1 to 3650)",
    )
    data_dir: Path | None = setting(
        "DATA_DIR",
        left_out="`.data`",
        default=None,
        description="the folder that conversations are kept in where there is no storage account; never in Azure",
    )
    storage_connection_string: SecretStr | None = setting(
        "AzureWebJobsStorage",
        left_out="the file in `DATA_DIR`; in Azure, this or the next two are required",
        default=None,
        description="the storage account's connection string, or UseDevelopmentStorage=true for Azurite",
    )
    storage_tables: str | None = setting(
        "AzureWebJobsStorage__tableServiceUri",
        default=None,
        pattern=_SERVICE_URI,
        description="the storage account's table service, for example https://<account>.table.core.windows.net",
    )
    storage_queues: str | None = setting(
        "AzureWebJobsStorage__queueServiceUri",
        default=None,
        pattern=_SERVICE_URI,
        description="the storage account's queue service, for example https://<account>.queue.core.windows.net",
    )
    storage_client_id: str | None = setting(
        "AzureWebJobsStorage__clientId",
        left_out="the system-assigned identity",
        default=None,
        pattern=GUID,
        description="the client id of the managed identity that may use the storage account, a GUID",
    )

    insights_connection_string: SecretStr | None = setting(
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        left_out="traces and metrics go to the console",
        default=None,
        description="the connection string of Application Insights, where traces and metrics go",
    )
    insights_authentication: str | None = setting(
        "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
        left_out="the key in the connection string",
        default=None,
        pattern=r"^Authorization=AAD(;ClientId=[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})?$",
        description="Authorization=AAD;ClientId=<id of the managed identity>, where Application Insights takes no key",
    )
    telemetry_records_text: bool = setting(
        "TELEMETRY_RECORDS_TEXT",
        default=False,
        description="true keeps questions and answers in the traces",
    )

    in_azure: bool = Field(default=False, exclude=True, validation_alias=AliasChoices("in_azure"))
    # What Azure calls the Function App and the machine it runs on.
    site: str = Field(default="", exclude=True, validation_alias=AliasChoices("WEBSITE_SITE_NAME"))
    instance: str = Field(default="", exclude=True, validation_alias=AliasChoices("WEBSITE_INSTANCE_ID"))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # load_settings hands over the environment itself, so that a test can hand over another.
        return (init_settings,)

    @field_validator("databricks_base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value.strip())
        loopback = is_loopback(parts.hostname or "")
        if (
            not re.fullmatch(r"([A-Za-z0-9.-]+|\[::1\])(:[0-9]+)?", parts.netloc)
            or parts.port == 0
            or (parts.scheme != "https" and not (parts.scheme == "http" and loopback))
        ):
            raise PydanticCustomError("address", "must begin with https:// and name the workspace")
        return value.strip().rstrip("/")

    @field_validator("insights_connection_string")
    @classmethod
    def _names_a_component(cls, value: SecretStr | None) -> SecretStr | None:
        parts = dict(
            part.strip().split("=", 1) for part in (value.get_secret_value() if value else "").split(";") if "=" in part
        )
        if value is not None and not re.fullmatch(GUID.strip("^$"), parts.get("InstrumentationKey", "")):
            raise PydanticCustomError("connection_string", "has no InstrumentationKey")
        return value

    @field_validator("storage_connection_string")
    @classmethod
    def _names_an_account(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value().lower() if value else "usedevelopmentstorage="
        if not re.search("usedevelopmentstorage=|accountkey=|sharedaccesssignature=", text):
            raise PydanticCustomError("connection_string", "names no storage account")
        return value

    @property
    def accepts_emulator(self) -> bool:
        return self.bot_accepts_emulator or not self.in_azure

    @property
    def uses_storage_account(self) -> bool:
        return self.storage_connection_string is not None or self.storage_tables is not None

    @property
    def conversations_file(self) -> Path:
        return (self.data_dir or Path(".data")) / "conversations.sqlite"


def setting_names() -> dict[str, str]:
    """Every setting's name and what to put there."""
    return {
        str(field.validation_alias.choices[0]): field.description or ""
        for field in Settings.model_fields.values()
        if isinstance(field.validation_alias, AliasChoices) and field.description
    }


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises `SettingsError` with every problem at once."""
    names = setting_names()
    given = {name: environment[name].strip() for name in names if environment.get(name, "").strip()}
    in_azure = _runs_in_azure(environment)
    problems = [
        *problems_among(given, in_azure=in_azure),
    ]
    try:
        machine = {name: environment.get(name, "") for name in ("WEBSITE_SITE_NAME", "WEBSITE_INSTANCE_ID")}
        settings = Settings(**given, **machine, in_azure=in_azure)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = [*(_describe(dict(detail), names) for detail in error.errors()), *problems]
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _runs_in_azure(environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) for name in ("WEBSITE_SITE_NAME", "WEBSITE_INSTANCE_ID")):
        return True
    # `func start` sets WEBSITE_HOSTNAME too, to an address of the laptop's own.
    host = environment.get("WEBSITE_HOSTNAME", "").partition(":")[0]
    return host not in {"", "localhost", "127.0.0.1", "0.0.0.0"}  # noqa: S104 - compared, not bound


def _describe(detail: dict[str, Any], names: Mapping[str, str]) -> str:
    name = str(detail["loc"][0])
    fault = "missing" if detail["type"] == "missing" else "not valid"
    return f"{name}: {fault}; put {names.get(name, '')}"
