"""The sign-in to Foundry, and what its two packages' clients have in common."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
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


def project_credential(endpoint: str) -> AsyncTokenCredential:
    """As DefaultAzureCredential finds it in the cloud of the project; for a stand-in on this machine one that says
    nothing.

    Each cloud has a sign-in and a scope of its own:
    https://learn.microsoft.com/azure/foundry/concepts/foundry-azure-government
    """
    if is_loopback_url(endpoint):
        return _LocalCredential()
    return DefaultAzureCredential(authority=os.environ.get("AZURE_AUTHORITY_HOST") or _cloud(endpoint)[0])


@asynccontextmanager
async def client_options(endpoint: str) -> AsyncIterator[dict[str, Any]]:
    """What a client of the project is made with."""
    async with project_credential(endpoint) as credential:
        # Repeating is ours: see FoundryCalls.
        options: dict[str, Any] = {
            "endpoint": endpoint,
            "credential": credential,
            "credential_scopes": [_cloud(endpoint)[1]],
            "retry_policy": AsyncRetryPolicy.no_retries(),
            "permit_redirects": False,
            "read_timeout": CALL_SECONDS,
        }
        if is_loopback_url(endpoint):
            # azure-core refuses to send tokens over http://.
            headers = {"Authorization": f"Bearer {_LOCAL_TOKEN}"}
            options["authentication_policy"] = HeadersPolicy(base_headers=headers)
        yield options


def _cloud(endpoint: str) -> tuple[str, str]:
    """Where to sign in, and the scope of Foundry."""
    host = (urlsplit(endpoint).hostname or "").lower()
    return next((each for end, each in _CLOUDS.items() if host.endswith(end)), _PUBLIC_CLOUD)


class _LocalCredential:
    async def get_token(self, *scopes: str, **_: object) -> AccessToken:
        return AccessToken(_LOCAL_TOKEN, 1 << 40)

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...
