"""Where the server keeps what it keeps: a PostgreSQL database, a storage account, or a file of this instance."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from agent_server.composition.postgres_database import postgres_database
from agent_server.settings import AppEnvironment, ServerSettings
from app.composition.core import storage_location
from app.databricks.open_workspace import open_workspace
from app.settings.databricks_settings import DatabricksSettings
from app.settings.postgres_settings import PostgresSettings
from app.storage.factory import Storage, open_storage

_log = logging.getLogger(__name__)

StorageKind = Literal["postgresql", "azure", "sqlite"]


@dataclass(frozen=True, slots=True)
class ServerStorage:
    """`close` ends the sign-in to the database; the storage is closed before."""

    storage: Storage
    kind: StorageKind
    close: Callable[[], Awaitable[None]]


async def _nothing() -> None: ...


def server_storage(settings: ServerSettings, environment: Mapping[str, str] = os.environ) -> ServerStorage:
    """Says in the log where it is."""
    if settings.postgres.is_configured:
        _log.info("Responses and conversations are kept in PostgreSQL")
        return _database(settings.postgres, environment)
    if settings.storage.uses_storage_account:
        _log.info("Responses and conversations are kept in the storage account")
        return ServerStorage(open_storage(storage_location(settings.storage)), "azure", _nothing)
    level = logging.WARNING if AppEnvironment.read(environment).in_app else logging.INFO
    _log.log(
        level,
        "Responses and conversations are kept in a file of this instance alone (SQLite); DATABASE_URL or PGHOST names "
        "a database that several share",
    )
    return ServerStorage(open_storage(storage_location(settings.storage)), "sqlite", _nothing)


def _database(postgres: PostgresSettings, environment: Mapping[str, str]) -> ServerStorage:
    from app.storage.postgres.postgres_storage import open_database  # noqa: PLC0415 - only for PostgreSQL

    token, close = _sign_in(postgres, environment)
    return ServerStorage(open_database(postgres_database(postgres, token)), "postgresql", close)


def _sign_in(
    postgres: PostgresSettings, environment: Mapping[str, str]
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[None]]]:
    """What gives a token of the workspace, and what closes it."""
    if not postgres.signs_in_with_token:
        return _no_token, _nothing
    from app.databricks.database_token import DatabaseToken  # noqa: PLC0415 - only for Lakebase

    app = AppEnvironment.read(environment)
    given = {"DATABRICKS_BASE_URL": app.workspace_url, "DATABRICKS_MODEL_NAME": "not asked", **environment}
    workspace = open_workspace(DatabricksSettings.model_validate({k: v for k, v in given.items() if v}), None)
    token = DatabaseToken(workspace, endpoint=postgres.lakebase_endpoint, instance=postgres.lakebase_instance)

    async def close() -> None:
        await token.close()
        await workspace.close()

    return token, close


async def _no_token() -> str:
    raise AssertionError("a database with a password is asked without a token")
