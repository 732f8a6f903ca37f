"""The sign-in to Foundry, and what its two packages' clients have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import AsyncRetryPolicy, HeadersPolicy
from azure.identity.aio import DefaultAzureCredential

from app.foundry.agents.agent_settings import is_loopback_url
from app.foundry.agents.foundry_calls import CALL_SECONDS

_LOCAL_TOKEN = "local"  # noqa: S105 - no secret


@asynccontextmanager
async def client_options(endpoint: str) -> AsyncIterator[dict[str, Any]]:
    """Signed in as DefaultAzureCredential finds it; a stand-in on this machine is sent a token that says nothing."""
    # Repeating is ours: see FoundryCalls.
    options: dict[str, Any] = {
        "endpoint": endpoint,
        "retry_policy": AsyncRetryPolicy.no_retries(),
        "permit_redirects": False,
        "read_timeout": CALL_SECONDS,
    }
    if is_loopback_url(endpoint):
        # azure-core refuses to send tokens over http://.
        policy = HeadersPolicy(base_headers={"Authorization": f"Bearer {_LOCAL_TOKEN}"})
        yield options | {"credential": _LocalCredential(), "authentication_policy": policy}
        return
    async with DefaultAzureCredential() as credential:
        yield options | {"credential": credential}


class _LocalCredential:
    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return AccessToken(_LOCAL_TOKEN, 1 << 40)

    async def close(self) -> None: ...
