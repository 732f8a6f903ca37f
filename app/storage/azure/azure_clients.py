"""Opens the clients of a storage account. Importing this module takes long.

A client signs in with `credential` where the account has no connection string, and does not close it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from azure.data.tables.aio import TableClient
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from app.storage.azure.azure_calls import CONNECTION_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS
from app.storage.azure.azure_queue import AzureQueue
from app.storage.azure.azure_remote_queue import AUDIENCE, AzureRemoteQueue, find_queues
from app.storage.azure.table_documents import TableDocuments
from app.storage.azure.table_store import ConversationArtifacts, TableStore
from app.storage.remote_queue import RemoteQueueRefusedError
from app.storage.storage_account import StorageAccount
from app.storage.storage_credential import StorageCredential

if TYPE_CHECKING:
    from azure.core.credentials import AzureNamedKeyCredential
    from azure.core.credentials_async import AsyncTokenCredential

    from app.storage.azure.blob_artifacts import BlobArtifacts
    from app.storage.azure.blob_links import BlobLinks

_TIMEOUTS: dict[str, Any] = {"connection_timeout": CONNECTION_TIMEOUT_SECONDS, "read_timeout": READ_TIMEOUT_SECONDS}
_RETRIES = 24
_ALL_RETRIES: dict[str, Any] = {f"retry_{kind}": _RETRIES for kind in ("total", "connect", "read", "status")}
_NO_RETRIES: dict[str, Any] = {f"retry_{kind}": 0 for kind in ("total", "connect", "read", "status")}
# At once, after half a second, and then every second: a longer backoff would let later questions overtake earlier ones.
_TABLE_RETRIES: dict[str, Any] = {**_ALL_RETRIES, "retry_backoff_factor": 0.25, "retry_backoff_max": 1}
# About every second. Queues and blobs have another retry policy than tables.
_SERVICE_RETRIES: dict[str, Any] = {
    **_ALL_RETRIES,
    **{"initial_backoff": 0, "increment_base": 1, "random_jitter_range": 0.7},
}


def open_table(
    account: StorageAccount,
    name: str,
    artifacts: ConversationArtifacts,
    *,
    credential: StorageCredential | None = None,
    clock: Callable[[], float] = time.time,
    **options: object,
) -> TableStore:
    """`options` are azure-core's. Raises `ValueError` for an invalid connection string."""
    return TableStore(_table(account, name, credential, options), artifacts, clock=clock)


def open_documents_table(
    account: StorageAccount,
    name: str,
    *,
    credential: StorageCredential | None = None,
    clock: Callable[[], float] = time.time,
    **options: object,
) -> TableDocuments:
    """As `open_table`."""
    return TableDocuments(_table(account, name, credential, options), clock=clock)


def open_azure_queue(
    account: StorageAccount, name: str, *, credential: StorageCredential | None = None, **options: object
) -> AzureQueue:
    """`options` are azure-core's. Raises `ValueError` for an invalid connection string."""
    _silence_request_log()
    chosen = {**_TIMEOUTS, **_SERVICE_RETRIES, **options}
    if text := _connection_string(account):
        return AzureQueue(QueueClient.from_connection_string(text, name, **chosen))
    return AzureQueue(QueueClient(account.queues, name, credential=credential, audience=AUDIENCE, **chosen))


def open_azure_remote_queue(
    endpoint: str, name: str, account: StorageAccount, credential: StorageCredential, **options: object
) -> AzureRemoteQueue:
    """The queue `name` of the queue service at `endpoint`, signed in to with the connection string of `account`
    where that is of the same service, else with `credential`.
    """
    _silence_request_log()
    chosen = {**_TIMEOUTS, **_NO_RETRIES, **options}
    if text := _connection_string(account):
        own = QueueClient.from_connection_string(text, name, **chosen)
        if own.url.partition("?")[0] == f"{endpoint}/{name}":
            return AzureRemoteQueue(own)
    queue = QueueClient(endpoint, name, credential=credential, audience=AUDIENCE, **chosen)
    return AzureRemoteQueue(queue, credential=credential)


async def find_remote_queues(
    endpoint: str,
    names: Iterable[str],
    credential: AsyncTokenCredential | AzureNamedKeyCredential,
    **options: object,
) -> Mapping[str, bool | RemoteQueueRefusedError]:
    """As `find_queues`, of the queue service at `endpoint`."""
    _silence_request_log()
    chosen: dict[str, Any] = {**_TIMEOUTS, **_NO_RETRIES, **options}
    async with QueueServiceClient(endpoint, credential=credential, audience=AUDIENCE, **chosen) as service:
        return await find_queues(service, names)


def open_container(
    account: StorageAccount,
    name: str,
    *,
    credential: StorageCredential | None = None,
    clock: Callable[[], float] = time.time,
    **options: object,
) -> BlobArtifacts:
    """As `open_table`."""
    # Imported later than the others: no first answer needs artifacts.
    from azure.storage.blob.aio import ContainerClient  # noqa: PLC0415

    from app.storage.azure.blob_artifacts import BlobArtifacts  # noqa: PLC0415

    _silence_request_log()
    chosen = {**_TIMEOUTS, **_SERVICE_RETRIES, **options}
    if text := _connection_string(account):
        return BlobArtifacts(ContainerClient.from_connection_string(text, name, **chosen), clock=clock)
    container = ContainerClient(account.blobs, name, credential=credential, audience=AUDIENCE, **chosen)
    return BlobArtifacts(container, clock=clock)


def open_links(
    account: StorageAccount,
    container: str,
    *,
    credential: StorageCredential | None = None,
    clock: Callable[[], float] = time.time,
    **options: object,
) -> BlobLinks:
    """As `open_table`."""
    from azure.storage.blob.aio import BlobServiceClient  # noqa: PLC0415

    from app.storage.azure.blob_links import BlobLinks  # noqa: PLC0415

    _silence_request_log()
    chosen = {**_TIMEOUTS, **_SERVICE_RETRIES, **options}
    if text := _connection_string(account):
        return BlobLinks(BlobServiceClient.from_connection_string(text, **chosen), container, clock=clock)
    service = BlobServiceClient(account.blobs, credential=credential, audience=AUDIENCE, **chosen)
    return BlobLinks(service, container, clock=clock)


def _table(
    account: StorageAccount, name: str, credential: StorageCredential | None, options: dict[str, object]
) -> TableClient:
    _silence_request_log()
    chosen = {**_TIMEOUTS, **_TABLE_RETRIES, **options}
    if text := _connection_string(account):
        return TableClient.from_connection_string(text, name, **chosen)
    return TableClient(account.tables, name, credential=credential, audience=AUDIENCE, **chosen)


def _connection_string(account: StorageAccount) -> str | None:
    if account.connection_string is None:
        return None
    text = account.connection_string.get_secret_value().strip().rstrip(";")
    # The clients know this value, but not in every spelling that the Functions host accepts.
    return "UseDevelopmentStorage=true" if text.lower() == "usedevelopmentstorage=true" else text


def _silence_request_log() -> None:
    # The client logs several lines for each request, unless a level has been set.
    log = logging.getLogger("azure.core.pipeline.policies.http_logging_policy")
    if log.level == logging.NOTSET:
        log.setLevel(logging.WARNING)
