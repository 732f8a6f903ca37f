"""A queue of another program: nothing is put twice or created, and each failure says whether it may be repeated."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.storage.queue.aio import QueueClient
from pydantic import SecretStr

from app.storage.azure.azure_clients import open_azure_remote_queue
from app.storage.azure.azure_remote_queue import AzureRemoteQueue
from app.storage.factory import open_remote_queue
from app.storage.queue import MAX_QUEUE_MESSAGE_BYTES
from app.storage.remote_queue import RemoteQueueBusyError, RemoteQueueRefusedError
from app.storage.storage_account import EMULATOR_ACCOUNT, EMULATOR_KEY, StorageAccount
from app.storage.storage_credential import StorageCredential
from app.storage.storage_errors import StorageError
from tests.fakes.azurite import Azurite, free_port
from tests.fakes.stores import account


def opened(port: int, **options: object) -> AzureRemoteQueue:
    """Of a queue service on this machine."""
    endpoint = f"http://127.0.0.1:{port}/{EMULATOR_ACCOUNT}"
    text = f"AccountName={EMULATOR_ACCOUNT};AccountKey={EMULATOR_KEY};QueueEndpoint={endpoint};"
    return open_azure_remote_queue(endpoint, "fn-in", StorageAccount(SecretStr(text)), StorageCredential(), **options)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answered(handler: Handler, **options: object) -> tuple[Exception, int]:
    """What a put raises, and how many requests it made."""
    requests: list[str] = []

    async def counted(request: web.Request) -> web.StreamResponse:
        requests.append(request.method)
        return await handler(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", counted)
    async with TestServer(app) as server:
        assert server.port is not None
        queue = opened(server.port, **options)
        with pytest.raises(StorageError) as raised:
            await queue.put("question", time_to_live_seconds=60)
        await queue.close()
    return raised.value, len(requests)


def status(code: int, error: str, **headers: str) -> Handler:
    async def handler(_request: web.Request) -> web.Response:
        body = f"<?xml version='1.0'?><Error><Code>{error}</Code><Message>m</Message></Error>"
        return web.Response(status=code, text=body, headers={"x-ms-error-code": error, **headers})

    return handler


@pytest.mark.parametrize(
    ("handler", "kind"),
    [
        (status(404, "QueueNotFound"), RemoteQueueRefusedError),
        (status(403, "AuthorizationFailure"), RemoteQueueRefusedError),
        (status(400, "RequestBodyTooLarge"), RemoteQueueRefusedError),
        (status(503, "ServerBusy"), RemoteQueueBusyError),
        (status(429, "TooManyRequests"), RemoteQueueBusyError),
        # Azure answers so too where it has put the message: Azure/azure-sdk-for-net#37014.
        (status(500, "OperationTimedOut"), StorageError),
        (status(500, "InternalError"), StorageError),
        (status(503, "Unknown"), StorageError),
        (status(408, "Timeout"), StorageError),
    ],
)
async def test_a_put_is_sent_once_and_its_failure_says_whether_it_may_be_repeated(
    handler: Handler, kind: type[Exception]
) -> None:
    failure, requests = await answered(handler)
    assert (type(failure), requests) == (kind, 1)


async def test_a_busy_queue_says_when_it_may_be_asked_again() -> None:
    failure, _ = await answered(status(503, "ServerBusy", **{"Retry-After": "7"}))
    assert isinstance(failure, RemoteQueueBusyError)
    assert failure.retry_after_seconds == 7


async def test_a_connection_that_is_lost_says_nothing_about_what_was_put() -> None:
    async def lost(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    failure, requests = await answered(lost)
    assert (type(failure), requests) == (StorageError, 1)


async def test_an_answer_that_does_not_come_says_nothing_about_what_was_put() -> None:
    async def silent(_request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    failure, requests = await answered(silent, read_timeout=0.2)
    assert (type(failure), requests) == (StorageError, 1)


async def test_a_service_that_nobody_reaches_was_given_nothing() -> None:
    queue = opened(free_port())
    with pytest.raises(RemoteQueueBusyError):
        await queue.put("question", time_to_live_seconds=60)
    await queue.close()


async def test_a_key_goes_to_its_own_service_alone() -> None:
    """Without a managed identity there is no token, and nothing is sent."""
    text = f"DefaultEndpointsProtocol=https;AccountName=own;AccountKey={EMULATOR_KEY};EndpointSuffix=core.windows.net"
    other, credential = "https://other.queue.core.windows.net", StorageCredential()
    queue = open_remote_queue(other, "fn-in", StorageAccount(SecretStr(text)), credential)
    with pytest.raises(RemoteQueueRefusedError):
        await queue.put("question", time_to_live_seconds=60)
    await queue.close()
    await credential.close()


@pytest.fixture
async def raw(azurite: Azurite) -> AsyncIterator[QueueClient]:
    async with QueueClient.from_connection_string(azurite.connection_string, f"q{uuid.uuid4().hex}") as client:
        yield client


@pytest.mark.slow
async def test_it_is_put_in_base64_for_its_time_received_as_it_is_and_never_created(
    azurite: Azurite, raw: QueueClient
) -> None:
    queue = open_remote_queue(azurite.address("queue"), raw.queue_name, account(azurite), StorageCredential())
    for call in (queue.ping, lambda: queue.put("m", time_to_live_seconds=9)):
        with pytest.raises(RemoteQueueRefusedError):
            await call()
    await raw.create_queue()
    await queue.ping()
    await queue.put("Größe", time_to_live_seconds=90)
    (message,) = [each async for each in raw.receive_messages()]
    assert message.content == "R3LDtsOfZQ=="
    assert message.expires_on is not None
    assert message.inserted_on is not None
    assert (message.expires_on - message.inserted_on).total_seconds() == 90
    await raw.delete_message(message)
    await raw.send_message('{"plain": 1}')
    (received,) = await queue.receive(100, visibility_timeout=30)
    assert received.content == '{"plain": 1}'
    await queue.delete(received.receipt)
    await queue.delete(received.receipt)
    assert not [each async for each in raw.receive_messages()]
    with pytest.raises(ValueError, match="a queue takes"):
        await queue.put("x" * (MAX_QUEUE_MESSAGE_BYTES + 1), time_to_live_seconds=9)
    await queue.close()
