"""A queue of another program that is signed in to: its token is fetched before, and a call that hangs ends."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.queue.aio import QueueClient

from app.storage.azure.azure_remote_queue import AzureRemoteQueue
from app.storage.remote_queue import RemoteQueueBusyError, RemoteQueueRefusedError
from app.storage.storage_errors import StorageError
from tests.fakes.virtual_time import VirtualTimeLoop


class Identity:
    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.asked_for: list[str] = []

    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        self.asked_for += scopes
        if self.failure is not None:
            raise self.failure
        return AccessToken("token", 1 << 40)


def signed_in_with(identity: Identity, client: object = None) -> AzureRemoteQueue:
    return AzureRemoteQueue(cast(QueueClient, client), credential=cast(Any, identity))


async def test_a_token_is_fetched_before_the_first_message() -> None:
    identity = Identity()
    await signed_in_with(identity).open()
    assert identity.asked_for == ["https://storage.azure.com/.default"]


async def test_where_there_is_no_token_nothing_was_put() -> None:
    with pytest.raises(RemoteQueueRefusedError):
        await signed_in_with(Identity(ClientAuthenticationError("no identity"))).open()


def test_a_call_that_hangs_ends_and_says_nothing_about_what_was_put() -> None:
    class Hanging:
        async def send_message(self, *_: object, **__: object) -> None:
            await asyncio.Event().wait()

    async def play() -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StorageError) as raised:
            await signed_in_with(Identity(), Hanging()).put("question", time_to_live_seconds=60)
        assert not isinstance(raised.value, RemoteQueueBusyError | RemoteQueueRefusedError)
        return asyncio.get_running_loop().time() - began

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        assert virtual.run(play()) <= 15
