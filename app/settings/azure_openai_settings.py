"""The settings of Azure OpenAI, which is asked about failed jobs instead of the workspace's model where it is set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import SecretStr, field_validator

from app.common.net import secure_origin
from app.settings.host_environment import HostEnvironment
from app.settings.section import Section, setting


class AzureOpenAISettings(Section):
    title: ClassVar[str] = "Azure OpenAI: the model that is asked about failed jobs"

    endpoint: str = setting(
        "AZURE_OPENAI_ENDPOINT",
        default="",
        left_out="the model in `DATABRICKS_MODEL_NAME`",
        description="the resource, for example https://<resource>.openai.azure.com",
    )
    deployment: str = setting(
        "AZURE_OPENAI_DEPLOYMENT", default="", max_length=200, description="the name of the deployment"
    )
    key: SecretStr | None = setting(
        "AZURE_OPENAI_KEY",
        default=None,
        left_out="the identity of the app",
        description="a key of the resource",
    )

    @property
    def is_configured(self) -> bool:
        return bool(self.endpoint)

    @field_validator("endpoint")
    @classmethod
    def _is_secure(cls, value: str) -> str:
        url = value.strip().rstrip("/")
        if url:
            secure_origin(url)
        return url

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        if "AZURE_OPENAI_ENDPOINT" in given and "AZURE_OPENAI_DEPLOYMENT" not in given:
            yield "AZURE_OPENAI_DEPLOYMENT: missing; an endpoint is asked for a deployment"
        for name in ("AZURE_OPENAI_DEPLOYMENT", "AZURE_OPENAI_KEY"):
            if name in given and "AZURE_OPENAI_ENDPOINT" not in given:
                yield "AZURE_OPENAI_ENDPOINT: missing; a key and a deployment belong to an endpoint"
                return
