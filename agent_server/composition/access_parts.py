"""The check of what the agent may use, made of the server's own parts."""

from __future__ import annotations

from agent_server.access.access_check import AccessCheck, read_resources
from agent_server.composition.server_storage import ServerStorage
from agent_server.settings import ServerSettings
from app.composition.core import Core

STORAGE_NAMES = {"postgresql": "PostgreSQL", "azure": "storage account", "sqlite": "file of this instance (SQLite)"}


def access_check(core: Core, settings: ServerSettings, where: ServerStorage) -> AccessCheck:
    return AccessCheck(
        core.settings,
        core.workspace,
        experiment_id=settings.tracing.experiment_id or "",
        storage=STORAGE_NAMES[where.kind],
        ping_storage=where.storage.conversations.ping,
        resources=read_resources(),
    )
