"""The settings of Databricks: the workspace, how to sign in there, and the model that answers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError

from app.common.net import secure_origin
from app.settings.host_environment import HostEnvironment
from app.settings.section import Section, setting
from app.settings.setting_types import Origin

_APP = re.compile(r"https://[A-Za-z0-9.-]+\.databricksapps\.com(?:[:/]|$)")

ModelApi = Literal["auto", "chat", "responses"]

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


class DatabricksSettings(Section):
    title: ClassVar[str] = "Databricks: workspace, credential and model"

    base_url: str = setting(
        "DATABRICKS_BASE_URL", description="the workspace, for example https://<workspace>/serving-endpoints"
    )
    model_name: str = setting(
        "DATABRICKS_MODEL_NAME", min_length=1, description="the name of the serving endpoint that answers"
    )
    api: ModelApi = setting(
        "DATABRICKS_API", default="auto", description="chat, responses, or auto: as the endpoint's task says"
    )
    token: SecretStr | None = setting("DATABRICKS_TOKEN", default=None, description="a personal access token")
    client_id: str | None = setting(
        "DATABRICKS_CLIENT_ID", default=None, description="an OAuth service principal's client id"
    )
    client_secret: SecretStr | None = setting(
        "DATABRICKS_CLIENT_SECRET", default=None, description="that service principal's secret"
    )
    auth_type: str | None = setting(
        "DATABRICKS_AUTH_TYPE",
        default=None,
        pattern=f"^({'|'.join(AUTH_TYPES)})$",
        description="azure-managed-identity for the bot's own identity, or a method of databricks-sdk",
    )
    config_profile: str | None = setting(
        "DATABRICKS_CONFIG_PROFILE", default=None, description="a profile in .databrickscfg, on a developer's machine"
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
        description="the sampling temperature of the model, from 0 to 2",
    )

    mlflow_base_url: Origin = setting(
        "MLFLOW_BASE_URL",
        default="",
        left_out="the workspace",
        description="the workspace that has the traces of answers and signs in, where the model is an app; it gets the "
        "same tokens",
    )

    @field_validator("base_url")
    @classmethod
    def _is_workspace_url(cls, value: str) -> str:
        try:
            secure_origin(value.strip())
        except ValueError:
            raise PydanticCustomError("address", "must begin with https:// and name the workspace") from None
        return value.strip().rstrip("/")

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        if _APP.match(given.get("DATABRICKS_BASE_URL", "")):
            yield from _problems_with_an_app(given)
        pair = ("DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET")
        missing = [name for name in pair if name not in given]
        if missing == [pair[1]] and given.get("DATABRICKS_AUTH_TYPE") == "azure-managed-identity":
            # A client id alone then names another identity than the bot's own.
            return
        if len(missing) == 1:
            yield f"{missing[0]}: missing; a service principal has both an id and a secret"


def _problems_with_an_app(given: Mapping[str, str]) -> Iterator[str]:
    if given.get("DATABRICKS_TOKEN", "").startswith("dapi"):
        yield (
            "DATABRICKS_TOKEN: a Databricks App takes no personal access token; remove it, and put a service principal "
            "into DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET"
        )
    if "DATABRICKS_CLIENT_SECRET" in given and "MLFLOW_BASE_URL" not in given:
        yield "MLFLOW_BASE_URL: missing; beside an app in DATABRICKS_BASE_URL it names the workspace that signs in"
