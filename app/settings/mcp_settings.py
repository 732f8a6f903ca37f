"""The settings of MCP servers, whose tools the agent may use."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError

from app.common.net import secure_origin
from app.settings.host_environment import HostEnvironment
from app.settings.section import Section, setting
from app.settings.setting_types import read_json

MAX_SERVERS = 20


class McpServer(BaseModel):
    """One server. `read_only` names the tools that change nothing, as the administrator says; `meta` goes with every
    call of a tool, as `_meta`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Without "__", which stands between it and the name of a tool; Gemini wants a letter first.
    name: str = Field(max_length=32, pattern=r"^[A-Za-z][A-Za-z0-9-]*(_[A-Za-z0-9-]+)*$")
    url: str
    read_only: frozenset[str] = frozenset()
    meta: dict[str, Any] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _is_secure(cls, value: str) -> str:
        secure_origin(value.strip())
        return value.strip()


def _distinct(servers: tuple[McpServer, ...]) -> tuple[McpServer, ...]:
    if len({server.name for server in servers}) < len(servers):
        raise PydanticCustomError("names", "each server needs a name of its own")
    return servers


_Servers = Annotated[
    tuple[McpServer, ...], BeforeValidator(read_json), Field(max_length=MAX_SERVERS), AfterValidator(_distinct)
]


class McpSettings(Section):
    title: ClassVar[str] = "MCP servers: tools of others"

    servers: _Servers = setting(
        "MCP_SERVERS",
        default=(),
        left_out="no MCP server",
        description='MCP servers as JSON: [{"name": …, "url": …, "read_only": [tool, …], "meta": {…}}]; their other '
        "tools need an approval",
    )
    secrets: SecretStr | None = setting(
        "MCP_SECRETS",
        default=None,
        left_out="no secret",
        description='bearer tokens of MCP servers outside Databricks as JSON: {"name of a server": "its token"}',
    )

    def secret_of(self, server: McpServer) -> SecretStr | None:
        secret = _secrets(self.secrets.get_secret_value() if self.secrets else "").get(server.name)
        return SecretStr(secret) if secret else None

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        if "MCP_SECRETS" not in given:
            return
        try:
            named = _secrets(given["MCP_SECRETS"])
            known = {McpServer.model_validate(each).name for each in json.loads(given.get("MCP_SERVERS", "[]"))}
        except (ValueError, TypeError, ValidationError):
            yield 'MCP_SECRETS: not valid; put JSON: {"name of a server": "its token"}'
            return
        if unknown := sorted(set(named) - known):
            yield f"MCP_SECRETS: names {len(unknown)} that MCP_SERVERS does not; each is the name of a server there"


def _secrets(text: str) -> dict[str, str]:
    """Raises `ValueError`."""
    secrets = json.loads(text or "{}")
    if not isinstance(secrets, dict) or not all(isinstance(each, str) for each in secrets.values()):
        raise ValueError("not an object of strings")
    return secrets
