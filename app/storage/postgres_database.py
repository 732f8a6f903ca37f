"""Which PostgreSQL database is meant, and how it is signed in to."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import SecretStr

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

    def __post_init__(self) -> None:
        if not _SCHEMA.fullmatch(self.schema):
            raise ValueError(f"{self.schema!r} names no schema")
