"""Every setting, by section, validated once at start.

A setting is declared in its section's module in `app/settings`, under the name that it has in the environment: in Azure
an application setting, on a developer's machine `local.settings.json`. This module puts a host's sections together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.settings.agent_settings import AgentSettings
from app.settings.bot_settings import BotSettings
from app.settings.databricks_settings import DatabricksSettings
from app.settings.foundry_mcp_settings import FoundryMcpSettings
from app.settings.foundry_settings import FoundryToolSettings
from app.settings.function_tool_settings import FunctionToolSettings
from app.settings.genie_settings import GenieSettings
from app.settings.host_environment import HostEnvironment
from app.settings.mcp_settings import McpSettings
from app.settings.section import Section
from app.settings.specialist_settings import SpecialistSettings
from app.settings.sql_settings import SqlSettings
from app.settings.storage_settings import StorageSettings
from app.settings.telemetry_settings import TelemetrySettings
from app.settings.turn_settings import TurnSettings


class SettingsError(Exception):
    """Every missing or invalid setting, one line each: its name and what to put there. Holds no value that was set."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("These settings need attention:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = tuple(problems)


class HostSettings(BaseSettings):
    """The sections that one host needs: a field each, of the section's class."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    host: HostEnvironment

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load_sections` is given the environment, so that a test can give another.
        return (init_settings,)

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """Each section's class, by its field."""
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}


class CoreSettings(HostSettings):
    """What the agent needs in any host."""

    databricks: DatabricksSettings
    agent: AgentSettings
    genie: GenieSettings
    turns: TurnSettings
    storage: StorageSettings
    telemetry: TelemetrySettings
    mcp: McpSettings
    specialists: SpecialistSettings
    function_tools: FunctionToolSettings
    sql: SqlSettings


class Settings(CoreSettings):
    """Those of the Function App."""

    bot: BotSettings
    foundry: FoundryToolSettings
    foundry_mcp: FoundryMcpSettings

    @property
    def accepts_emulator(self) -> bool:
        return self.bot.accepts_emulator_in_azure or not self.host.in_azure


_Kind = TypeVar("_Kind", bound=HostSettings)
_PLAIN_NAME = re.compile(r"[\w.*-]{1,64}( \d{1,6})?")


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Those of the Function App. Raises `SettingsError` with every problem at once."""
    return load_sections(Settings, environment)


def is_job_watch_on(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the Function App watches jobs; `app.jobs.environment` has the settings."""
    return any(name.startswith("JOB_WATCH_") and value.strip() for name, value in environment.items())


def load_sections(kind: type[_Kind], environment: Mapping[str, str] = os.environ) -> _Kind:
    """The sections of `kind`, and no setting of any other. Raises `SettingsError` with every problem at once."""
    names = setting_names(kind)
    given = {name: environment[name].strip() for name in names if environment.get(name, "").strip()}
    host = HostEnvironment.read(environment)
    problems = [*_unresolved_secrets(given)]
    for section in kind.sections().values():
        problems += section.cross_field_problems(given, host)
    try:
        settings = kind(host=host, **dict.fromkeys(kind.sections(), given))
    except ValidationError as error:
        raise SettingsError([*(_describe(dict(each), names) for each in error.errors()), *problems]) from None
    if problems:
        raise SettingsError(problems)
    return settings


def setting_names(kind: type[HostSettings] = Settings) -> dict[str, str]:
    """Every setting's name and what to put there."""
    return {name: text for section in kind.sections().values() for name, text in section.setting_names().items()}


def _unresolved_secrets(given: Mapping[str, str]) -> Iterator[str]:
    # What Azure leaves in place of a secret it could not read.
    # https://learn.microsoft.com/azure/app-service/app-service-key-vault-references
    fault = "its Key Vault reference is not resolved; the app's identity needs the role Key Vault Secrets User"
    for name, value in given.items():
        if value.startswith("@Microsoft.KeyVault("):
            yield f"{name}: {fault}"


def _describe(detail: Mapping[str, Any], names: Mapping[str, str]) -> str:
    _section, name, *inside = detail["loc"]
    # Where in a setting that is JSON. What else a location holds is of pydantic's making.
    where = [f"entry {each + 1}" if isinstance(each, int) else each for each in inside]
    place = ", ".join(each for each in where if _PLAIN_NAME.fullmatch(each))
    fault = "missing" if detail["type"] == "missing" else "not valid"
    if place:
        fault = f"not valid in {place}{', which is missing' if fault == 'missing' else ''}"
    return f"{name}: {fault}; put {names[name]}"
