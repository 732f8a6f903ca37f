"""Links to single blobs: a shared access signature that reads one blob, for an hour.

https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobSasPermissions, ContentSettings, UserDelegationKey, generate_blob_sas
from azure.storage.blob.aio import BlobServiceClient

from app.storage.answer_links import LINK_SECONDS
from app.storage.azure.azure_calls import storage_call

_UPLOAD_SECONDS = 60.0
_LINK_LIFETIME = timedelta(seconds=LINK_SECONDS)
_KEY_LIFETIME = timedelta(hours=12)
# Azure's clock may be behind this one: https://github.com/apache/polaris/issues/5484
_CLOCK_SKEW = timedelta(minutes=5)
# Shown by no browser, so that nothing in an answer is run.
_CONTENT = ContentSettings(
    content_type="text/markdown; charset=utf-8",
    content_disposition='attachment; filename="answer.md"',
    cache_control="no-store",
)


class BlobLinks:
    """Signs with a key that storage gives to the app's identity, or with the account's, which a connection string has.

    Blobs stay until the container's lifecycle rule deletes them. Creates a missing container. `clock` is in seconds
    since 1970.
    """

    def __init__(self, service: BlobServiceClient, container: str, *, clock: Callable[[], float] = time.time) -> None:
        self._service = service
        self._container = service.get_container_client(container)
        self._clock = clock
        self._key: tuple[UserDelegationKey, datetime] | None = None

    async def create(self) -> None:
        with suppress(ResourceExistsError):
            await self._container.create_container()

    @storage_call(_UPLOAD_SECONDS)
    async def link_to(self, text: str) -> str:
        blob = self._container.get_blob_client(f"{secrets.token_urlsafe(32)}.md")
        await blob.upload_blob(text.encode(), overwrite=True, content_settings=_CONTENT)
        expiry = datetime.fromtimestamp(self._clock(), UTC) + _LINK_LIFETIME
        signature = generate_blob_sas(
            str(blob.account_name),
            blob.container_name,
            blob.blob_name,
            permission=BlobSasPermissions(read=True),
            expiry=expiry,
            protocol="https" if blob.url.startswith("https:") else "https,http",
            **await self._signed_with(expiry),
        )
        return f"{blob.url}?{signature}"

    async def close(self) -> None:
        await self._service.close()

    async def _signed_with(self, expiry: datetime) -> dict[str, Any]:
        if (key := getattr(self._service.credential, "account_key", None)) is not None:
            return {"account_key": key}
        if self._key is None or self._key[1] < expiry:
            now = datetime.fromtimestamp(self._clock(), UTC)
            ends = now + _KEY_LIFETIME
            self._key = await self._service.get_user_delegation_key(now - _CLOCK_SKEW, ends), ends
        return {"user_delegation_key": self._key[0]}
