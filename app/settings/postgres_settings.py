"""The settings of a PostgreSQL database, as Databricks Apps sets them for Lakebase, or as one connection string."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator
from pydantic_core import PydanticCustomError

from app.settings.host_environment import HostEnvironment
from app.settings.section import Section, setting

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

# SQLAlchemy's form too, which names a driver.
_URL = re.compile(r"postgres(ql)?(\+[a-z0-9]+)?(?=://)")

# Part of many connection strings; asyncpg has no such option.
_CHANNEL_BINDING = re.compile(r"(?<=[?&])channel_binding=[^&]*&?")
_OF_DATABRICKS = re.compile(r"\.(databricks\.(com|us|azure\.us|azure\.cn)|azuredatabricks\.net)$", re.IGNORECASE)


class PostgresSettings(Section):
    """https://docs.databricks.com/aws/en/dev-tools/databricks-apps/lakebase"""

    title: ClassVar[str] = "PostgreSQL: where the agent server keeps conversations"

    url: SecretStr | None = setting(
        "DATABASE_URL",
        left_out="`PGHOST` and the settings after it; without those, Azure storage or a file",
        default=None,
        description="the connection string, for example postgresql://user:password@host/database?sslmode=require",
    )
    host: str | None = setting(
        "PGHOST",
        default=None,
        description="the database's host; Databricks Apps sets it, with the next four, where the app has a database",
    )
    port: int = setting("PGPORT", default=5432, ge=1, le=65535, description="the port there (1 to 65535)")
    database: str | None = setting(
        "PGDATABASE", left_out="the user's name", default=None, description="the name of the database"
    )
    user: str | None = setting("PGUSER", default=None, description="the role that signs in; required with `PGHOST`")
    ssl_mode: SslMode | None = setting(
        "PGSSLMODE",
        left_out="`require` with a token, `prefer` with a password",
        default=None,
        description="disable, allow, prefer, require, verify-ca or verify-full, as in every PostgreSQL client",
    )
    password: SecretStr | None = setting(
        "PGPASSWORD",
        left_out="for Lakebase a token of the workspace",
        default=None,
        description="that role's password",
    )
    lakebase_endpoint: str | None = setting(
        "LAKEBASE_ENDPOINT",
        left_out="the workspace's own OAuth token signs in",
        default=None,
        pattern=r"^projects/[^/]+/branches/[^/]+/endpoints/[^/]+$",
        description="the endpoint that makes tokens for an autoscaling Lakebase, projects/<project>/branches/<branch>/"
        "endpoints/<endpoint>",
    )
    lakebase_instance: str | None = setting(
        "LAKEBASE_INSTANCE_NAME",
        left_out="the workspace's own OAuth token signs in",
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$",
        description="the instance that makes tokens for a provisioned Lakebase",
    )
    schema_name: str = setting(
        "DATABASE_SCHEMA",
        default="databricks_agent",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="the schema that has the tables; it is created where it is missing. Lower-case letters, digits, _",
    )

    @property
    def is_configured(self) -> bool:
        return self.url is not None or self.host is not None

    @property
    def signs_in_with_token(self) -> bool:
        """Without a password, at a database of Databricks: nobody else is sent the workspace's tokens."""
        url = urlsplit(self.url.get_secret_value()) if self.url else None
        if self.password is not None or (url is not None and url.password is not None):
            return False
        host = (url.hostname if url else self.host) or ""
        return bool(self.lakebase_endpoint or self.lakebase_instance or _OF_DATABRICKS.search(host))

    @field_validator("url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        url, replaced = _URL.subn("postgresql", value.get_secret_value().strip(), count=1)
        if not replaced:
            raise PydanticCustomError("url", "must begin with postgresql://")
        return SecretStr(_CHANNEL_BINDING.sub("", url).rstrip("?&"))

    @classmethod
    def cross_field_problems(cls, given: Mapping[str, str], host: HostEnvironment) -> Iterator[str]:
        if "DATABASE_URL" in given:
            return
        if "PGHOST" in given and "PGUSER" not in given:
            yield "PGUSER: missing; the role that signs in at PGHOST, in Databricks an address or a client id"
        if "LAKEBASE_ENDPOINT" in given and "LAKEBASE_INSTANCE_NAME" in given:
            yield "LAKEBASE_INSTANCE_NAME: a database is either an endpoint or an instance; leave one out"
