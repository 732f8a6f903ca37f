"""The settings of the agent server: its own section, and those of `app/` that it uses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator

from app.config import CoreSettings, HostSettings, load_sections
from app.settings.postgres_settings import PostgresSettings
from app.settings.section import Section, setting
from app.settings.setting_types import read_host_names
from app.settings.storage_settings import StorageSettings
from app.settings.turn_settings import TurnSettings


@dataclass(frozen=True, slots=True)
class AppEnvironment:
    """What Databricks Apps sets. All is empty elsewhere."""

    name: str = ""
    port: int | None = None
    workspace_url: str = ""

    @property
    def in_app(self) -> bool:
        return bool(self.name)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        # https://docs.databricks.com/aws/en/dev-tools/databricks-apps/system-env
        name, port = environment.get("DATABRICKS_APP_NAME", ""), environment.get("DATABRICKS_APP_PORT", "")
        host = environment.get("DATABRICKS_HOST", "").strip().rstrip("/")
        workspace = host if host.startswith("https://") or not host else f"https://{host}"
        return cls(name, int(port) if port.isdecimal() else None, workspace if name else "")


class AgentServerSettings(Section):
    title: ClassVar[str] = "Agent server: who may ask, and how much"

    identity: Literal["auto", "app", "person"] = setting(
        "AGENT_SERVER_IDENTITY",
        default="auto",
        description="as whom an app asks Databricks: app; person, who is refused where Databricks forwards no token of "
        "theirs (`user_api_scopes`); or auto: the person where a token comes, else the app",
    )
    image_hosts: Annotated[frozenset[str], BeforeValidator(read_host_names)] = setting(
        "IMAGE_HOSTS",
        left_out="none: every image in an answer becomes a link",
        default=frozenset(),
        description="hosts whose images the page shows in answers, with commas between them: charts.example.com",
    )
    max_body_bytes: int = setting(
        "AGENT_SERVER_MAX_BODY_BYTES",
        default=4 * 1024 * 1024,
        ge=1024,
        le=100 * 1024 * 1024,
        description="the largest request, in bytes (1024 to 104857600)",
    )
    max_concurrent_answers: int = setting(
        "AGENT_SERVER_MAX_CONCURRENT_ANSWERS",
        default=200,
        ge=1,
        le=10_000,
        description="how many answers are made at the same time in one instance (1 to 10000); more are refused",
    )


class TracingSettings(Section):
    title: ClassVar[str] = "Agent server: traces in MLflow"

    tracking_uri: str | None = setting(
        "MLFLOW_TRACKING_URI",
        left_out="`databricks` in an app with an experiment; elsewhere nothing is traced",
        default=None,
        description="where MLflow keeps traces: `databricks`, the URL of a tracking server, or `sqlite:///mlflow.db`",
    )
    experiment_id: str | None = setting(
        "MLFLOW_EXPERIMENT_ID",
        left_out="the experiment by name",
        default=None,
        description="the id of the experiment that traces go to; a bundle sets it to the app's experiment",
    )
    experiment_name: str | None = setting(
        "MLFLOW_EXPERIMENT_NAME",
        left_out="`agent-server`, which is made where it is missing",
        default=None,
        description="the name of the experiment, where its id is not set",
    )
    content: Literal["full", "masked", "none"] = setting(
        "TRACE_CONTENT",
        default="full",
        description="what traces hold of questions and answers: `full`; `masked`: without mail addresses and long "
        "numbers; or `none`. Secrets are never in them",
    )
    sampling_ratio: float = setting(
        "MLFLOW_TRACE_SAMPLING_RATIO",
        default=1.0,
        ge=0.0,
        le=1.0,
        description="the share of requests that is traced (0 to 1)",
    )


def _comma_list(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


PersonIds = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]


class JobsTabSettings(Section):
    title: ClassVar[str] = "Agent server: the jobs tab of its page"

    watch_every: str = setting(
        "AGENT_SERVER_WATCH_JOBS_EVERY",
        default="",
        pattern=r"^(\d{1,7}[smhd])?$",
        left_out="it does not: the tab reads JOB_WATCH_STORE",
        description="how often this server looks at the jobs itself, such as 5m; of several instances one does",
    )
    approvers: PersonIds = setting(
        "AGENT_SERVER_JOB_APPROVERS",
        default=(),
        left_out="nobody inside an app",
        description="who may decide about failed jobs in the page: their ids, which the tab shows, with commas between",
    )
    viewers: PersonIds = setting(
        "AGENT_SERVER_JOB_VIEWERS",
        default=(),
        left_out="the approvers alone",
        description="who may see failed jobs in the page: their ids, with commas between; * for everybody who may open "
        "the app",
    )


class ServerSettings(HostSettings):
    """What every agent server needs: nothing of it is required."""

    server: AgentServerSettings
    tracing: TracingSettings
    jobs_tab: JobsTabSettings
    turns: TurnSettings
    storage: StorageSettings
    postgres: PostgresSettings


class _WithTracing(HostSettings):
    tracing: TracingSettings


def load_tracing_settings(environment: Mapping[str, str] = os.environ) -> TracingSettings:
    """Raises as `load_server_settings`."""
    return load_sections(_WithTracing, environment).tracing


def load_server_settings(environment: Mapping[str, str] = os.environ) -> ServerSettings:
    """Raises `app.config.SettingsError` with every problem at once."""
    return load_sections(ServerSettings, environment)


def load_databricks_agent_settings(environment: Mapping[str, str] = os.environ) -> CoreSettings:
    """What `ask_agent` needs beside. Inside an app its own workspace answers where no other is named. Raises as
    `load_server_settings`.
    """
    app = AppEnvironment.read(environment)
    if app.workspace_url and not environment.get("DATABRICKS_BASE_URL", "").strip():
        environment = {**environment, "DATABRICKS_BASE_URL": f"{app.workspace_url}/serving-endpoints"}
    return load_sections(CoreSettings, environment)
