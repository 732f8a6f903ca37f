"""The database that the settings name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from app.settings.postgres_settings import PostgresSettings
from app.storage.postgres_database import PostgresDatabase


def postgres_database(settings: PostgresSettings, token: Callable[[], Awaitable[str]]) -> PostgresDatabase:
    """`token` signs in to a database of Databricks, where the settings have no password, and always over TLS."""
    secret, with_token = settings.password, settings.signs_in_with_token

    async def password() -> str:
        return secret.get_secret_value() if secret is not None else await token()

    signed_in = password if with_token or secret is not None else None
    required = "require" if with_token else None
    if settings.url is not None:
        named = "sslmode=" in settings.url.get_secret_value()
        return PostgresDatabase(
            url=settings.url,
            ssl_mode=None if named else required,
            password=signed_in,
            schema=settings.schema_name,
        )
    return PostgresDatabase(
        host=settings.host,
        port=settings.port,
        database=settings.database,
        user=settings.user,
        ssl_mode=settings.ssl_mode or required,
        password=signed_in,
        schema=settings.schema_name,
    )
