"""The sign-in to Foundry, and what its two packages' clients have in common."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import AsyncRetryPolicy, HeadersPolicy
from azure.identity import AzureAuthorityHosts
from azure.identity.aio import DefaultAzureCredential

from app.foundry.agents.agent_settings import is_loopback_url
from app.foundry.agents.foundry_calls import CALL_SECONDS

_PUBLIC_CLOUD = (AzureAuthorityHosts.AZURE_PUBLIC_CLOUD, "https://ai.azure.com/.default")
_CLOUDS = {
    ".azure.us": (AzureAuthorityHosts.AZURE_GOVERNMENT, "https://ai.azure.us/.default"),
    ".azure.cn": (AzureAuthorityHosts.AZURE_CHINA, "https://ai.azure.cn/.default"),
}
_LOCAL_TOKEN = "local"  # noqa: S105 - no secret


@asynccontextmanager
async def client_options(endpoint: str) -> AsyncIterator[dict[str, Any]]:
    """Signed in as DefaultAzureCredential finds it; a stand-in on this machine is sent a token that says nothing.

    Each cloud has a sign-in and a scope of its own:
    https://learn.microsoft.com/azure/foundry/concepts/foundry-azure-government
    """
    authority, scope = next((each for end, each in _CLOUDS.items() if _host(endpoint).endswith(end)), _PUBLIC_CLOUD)
    # Repeating is ours: see FoundryCalls.
    options: dict[str, Any] = {
        "endpoint": endpoint,
        "retry_policy": AsyncRetryPolicy.no_retries(),
        "permit_redirects": False,
        "read_timeout": CALL_SECONDS,
        "credential_scopes": [scope],
    }
    if is_loopback_url(endpoint):
        # azure-core refuses to send tokens over http://.
        policy = HeadersPolicy(base_headers={"Authorization": f"Bearer {_LOCAL_TOKEN}"})
        yield options | {"credential": _LocalCredential(), "authentication_policy": policy}
        return
    async with DefaultAzureCredential(authority=os.environ.get("AZURE_AUTHORITY_HOST") or authority) as credential:
        yield options | {"credential": credential}


def _host(endpoint: str) -> str:
    return (urlsplit(endpoint).hostname or "").lower()


class _LocalCredential:
    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return AccessToken(_LOCAL_TOKEN, 1 << 40)

    async def close(self) -> None: ...
