"""A queue of an Azure storage account that another program reads or writes."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from aiohttp import ClientConnectorError
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
)
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from app.resilience.retry_after import retry_after_seconds
from app.storage.azure.azure_calls import code_of
from app.storage.azure.azure_queue import delete_message, receive_messages
from app.storage.queue import Receipt, ReceivedMessage, check_size
from app.storage.queue_encoding import encode_message
from app.storage.remote_queue import RemoteQueueBusyError, RemoteQueueRefusedError
from app.storage.storage_errors import StorageError

# The same in every cloud: https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory
AUDIENCE = "https://storage.azure.com"
_CALL_SECONDS = 10.0

_P = ParamSpec("_P")
_R = TypeVar("_R")
_Method = Callable[Concatenate["AzureRemoteQueue", _P], Coroutine[Any, Any, _R]]


def _remote_call(method: _Method[_P, _R]) -> _Method[_P, _R]:
    @functools.wraps(method)
    async def call(self: AzureRemoteQueue, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                return await method(self, *args, **kwargs)
        except (AzureError, TimeoutError, OSError) as error:
            raise _storage_error(error) from error

    return call


class AzureRemoteQueue:
    """`queue` repeats no call by itself, and signs in with `credential`, which is not closed with it."""

    def __init__(self, queue: QueueClient, *, credential: AsyncTokenCredential | None = None) -> None:
        self._queue = queue
        self._credential = credential

    @_remote_call
    async def open(self) -> None:
        if self._credential is not None:
            await self._credential.get_token(f"{AUDIENCE}/.default")

    @_remote_call
    async def put(self, body: str, *, time_to_live_seconds: float) -> None:
        check_size(body)
        await self._queue.send_message(encode_message(body), time_to_live=max(1, math.ceil(time_to_live_seconds)))

    @_remote_call
    async def receive(self, max_messages: int, *, visibility_timeout: float) -> list[ReceivedMessage]:
        return await receive_messages(self._queue, max_messages, visibility_timeout)

    @_remote_call
    async def delete(self, receipt: Receipt) -> None:
        await delete_message(self._queue, receipt)

    @_remote_call
    async def ping(self) -> None:
        await self._queue.peek_messages(max_messages=1)

    async def close(self) -> None:
        await self._queue.close()


async def find_queues(
    service: QueueServiceClient, names: Iterable[str]
) -> Mapping[str, bool | RemoteQueueRefusedError]:
    """Whether each is there, or why that may not be seen. `service` repeats no call by itself. Raises as `RemoteQueue`
    where it gives no answer.
    """
    found: dict[str, bool | RemoteQueueRefusedError] = {}
    for name in names:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await service.get_queue_client(name).get_queue_properties()
            found[name] = True
        except ResourceNotFoundError:
            found[name] = False
        except (AzureError, TimeoutError, OSError) as error:
            translated = _storage_error(error)
            if not isinstance(translated, RemoteQueueRefusedError):
                raise translated from error
            found[name] = translated
    return found


def _storage_error(error: Exception) -> StorageError:
    """A failure does not say that nothing was put: https://github.com/Azure/azure-sdk-for-net/issues/37014"""
    reason = f"{type(error).__name__} {code_of(error)}".rstrip()
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        if error.status_code == 429 or code_of(error) == "ServerBusy":
            headers = getattr(error.response, "headers", {})
            return RemoteQueueBusyError(reason, retry_after_seconds(headers.get("Retry-After")))
        # 408 says that the request did not arrive whole; it may have.
        if 400 <= error.status_code < 500 and error.status_code != 408:
            return RemoteQueueRefusedError(reason)
    if isinstance(error, ClientAuthenticationError):
        # There was no token to send the call with.
        return RemoteQueueRefusedError(reason)
    never_connected = isinstance(error, ServiceRequestError) and isinstance(error.inner_exception, ClientConnectorError)
    if never_connected or isinstance(error, ServiceRequestTimeoutError):
        return RemoteQueueBusyError(reason)
    return StorageError(reason)
