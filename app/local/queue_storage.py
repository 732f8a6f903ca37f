"""The queues of the triggers: in the storage account that the settings name, or else in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from app.storage.factory import Storage, open_storage
from app.storage.queue import MessageReceiver
from app.storage.storage_account import StorageAccount


def data_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("DATA_DIR", "").strip() or ".data")


def storage_location(connection: str, environment: Mapping[str, str]) -> Path | StorageAccount:
    """`connection` is the name of a setting with a connection string, or the prefix of several settings' names.

    https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#connections
    """

    def setting(suffix: str) -> str:
        return environment.get(f"{connection}{suffix}", "").strip()

    if connection_string := setting(""):
        return StorageAccount(SecretStr(connection_string))
    if queues := setting("__queueServiceUri"):
        return StorageAccount(queues=queues, client_id=setting("__clientId") or None)
    return data_folder(environment) / "conversations.sqlite"


class LocalQueues:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._opened: dict[Path | StorageAccount, Storage] = {}

    def open(self, queue: str, connection: str) -> MessageReceiver:
        location = storage_location(connection, self._environment)
        if location not in self._opened:
            self._opened[location] = open_storage(location)
        return self._opened[location].open_queue(queue)

    async def close(self) -> None:
        for storage in self._opened.values():
            await storage.close()
