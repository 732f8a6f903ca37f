"""The stand-in Foundry project behind an address, and the real clients that call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp.test_utils import TestServer
from azure.ai.agents.aio import AgentsClient
from azure.ai.projects.aio import AIProjectClient
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import HeadersPolicy

from app.local.foundry_stand_in.server import PROJECT_PATH, FoundryStandIn


@asynccontextmanager
async def served(stand_in: FoundryStandIn) -> AsyncIterator[str]:
    """The address of the project."""
    async with TestServer(stand_in.application(), handler_cancellation=True) as server:
        yield str(server.make_url(PROJECT_PATH))


class FixedToken:
    async def get_token(self, *_: str, **__: object) -> AccessToken:
        return AccessToken("a token", 2**40)

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> FixedToken:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


@asynccontextmanager
async def project_client(stand_in: FoundryStandIn) -> AsyncIterator[AIProjectClient]:
    """Give each of its calls `enforce_https=False`."""
    async with served(stand_in) as address, AIProjectClient(address, FixedToken()) as client:
        yield client


@asynccontextmanager
async def agents_client(stand_in: FoundryStandIn) -> AsyncIterator[AgentsClient]:
    """The classic one. Its `authentication_policy` may send tokens over http."""
    async with served(stand_in) as address:
        policy = HeadersPolicy({"Authorization": "Bearer a token"})
        async with AgentsClient(address, FixedToken(), authentication_policy=policy) as client:
            yield client


async def until(comes: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not comes():  # noqa: ASYNC110 - tasks of the stand-in
            await asyncio.sleep(0.01)
