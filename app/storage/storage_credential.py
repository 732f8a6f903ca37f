"""The managed identity that signs in to a storage account."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from app.storage.lazy import lazy

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo
    from azure.identity.aio import ManagedIdentityCredential


class StorageCredential(AbstractAsyncContextManager["StorageCredential"]):
    """Shared by clients, which do not close it. Made in a thread when the first token is asked for.

    Methods raise `StorageError` once it is closed, and errors of azure-core.
    """

    def __init__(self, client_id: str | None = None) -> None:
        def made() -> ManagedIdentityCredential:
            from azure.identity.aio import ManagedIdentityCredential  # noqa: PLC0415 - takes long

            return ManagedIdentityCredential(client_id=client_id)

        self._identity = lazy(made)
        # azure-identity would sign in once for each client that asks before the first token is there.
        self._asking = asyncio.Lock()

    async def get_token(self, *scopes: str, **options: object) -> AccessToken:
        async with self._asking:
            token: AccessToken = await self._identity.get_token(*scopes, **options)
        return token

    async def get_token_info(self, *scopes: str, **options: object) -> AccessTokenInfo:
        async with self._asking:
            token: AccessTokenInfo = await self._identity.get_token_info(*scopes, **options)
        return token

    async def close(self) -> None:
        await self._identity.close()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
