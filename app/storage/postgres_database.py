"""Which PostgreSQL database is meant, and how it is signed in to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr

from app.settings.postgres_settings import PostgresSettings

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A connection string (`url`), or the parts of one; a part that is given wins over the same part of `url`.

    `password` is called for each new connection, since the tokens of Lakebase live for an hour. The tables are in
    `schema`, whose name has lower-case letters, digits and underscores.
    """

    url: SecretStr | None = None
    host: str | None = None
    port: int | None = None
    database: str | None = None
    user: str | None = None
    ssl_mode: str | None = None
    password: Callable[[], Awaitable[str]] | None = None
    schema: str = "databricks_agent"

    @classmethod
    def from_settings(cls, settings: PostgresSettings, token: Callable[[], Awaitable[str]]) -> Self:
        """`token` signs in to a database of Databricks, where the settings have no password, and always over TLS."""
        secret, with_token = settings.password, settings.signs_in_with_token

        async def password() -> str:
            return secret.get_secret_value() if secret is not None else await token()

        signed_in = password if with_token or secret is not None else None
        required = "require" if with_token else None
        if settings.url is not None:
            named = "sslmode=" in settings.url.get_secret_value()
            return cls(
                url=settings.url,
                ssl_mode=None if named else required,
                password=signed_in,
                schema=settings.schema_name,
            )
        return cls(
            host=settings.host,
            port=settings.port,
            database=settings.database,
            user=settings.user,
            ssl_mode=settings.ssl_mode or required,
            password=signed_in,
            schema=settings.schema_name,
        )

    def __post_init__(self) -> None:
        if not _SCHEMA.fullmatch(self.schema):
            raise ValueError(f"{self.schema!r} names no schema")
