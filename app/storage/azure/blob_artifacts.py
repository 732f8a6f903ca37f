"""Artifacts in a container of Azure's Blob storage: `<conversation>/<thread>/<name>`, each as a hash."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import BlobProperties, ContentSettings
from azure.storage.blob.aio import ContainerClient

from app.storage.artifacts import Artifact, ArtifactKey, check_artifact
from app.storage.azure.azure_calls import CLEANING_SECONDS, code_of, storage_call
from app.storage.azure.table_entities import hash_of, partition_of
from app.storage.conversations import ConversationKey

_TRANSFER_SECONDS = 60.0
_DELETIONS_AT_ONCE = 16
# Not Azure's own time of the blob, so that the same clock decides about the age of rows and artifacts.
_WRITTEN_AT = "written_at"


class BlobArtifacts:
    """Creates a missing container. `clock` is in seconds since 1970."""

    def __init__(self, container: ContainerClient, *, clock: Callable[[], float] = time.time) -> None:
        self._container = container
        self._clock = clock

    async def create(self) -> None:
        with suppress(ResourceExistsError):
            await self._container.create_container()

    @storage_call(_TRANSFER_SECONDS)
    async def put(self, artifact: Artifact) -> None:
        check_artifact(artifact)
        await self._container.upload_blob(
            _blob_name(artifact.key),
            artifact.content,
            overwrite=True,
            content_settings=ContentSettings(content_type=artifact.content_type),
            metadata={_WRITTEN_AT: repr(self._clock())},
        )

    @storage_call(_TRANSFER_SECONDS)
    async def get(self, key: ArtifactKey) -> Artifact | None:
        try:
            blob = await self._container.download_blob(_blob_name(key))
            content = await blob.readall()
        except ResourceNotFoundError as error:
            if code_of(error) != "BlobNotFound":
                raise
            return None
        return Artifact(key, content, str(blob.properties.content_settings.content_type))

    @storage_call()
    async def delete(self, key: ArtifactKey) -> None:
        await self._delete(_blob_name(key))

    @storage_call(CLEANING_SECONDS)
    async def delete_conversation(self, key: ConversationKey, *, threads: bool = False) -> None:
        """With `threads` the artifacts of all its threads too."""
        async for names in _batches(self._container.list_blobs(_prefix(key, threads=threads))):
            await self._delete_all(names)

    @storage_call(CLEANING_SECONDS)
    async def delete_before(self, moment: float) -> int:
        """Deletes what was written before `moment`, in seconds since 1970; how many."""
        deleted = 0
        async for names in _batches(self._container.list_blobs(include=["metadata"]), before=moment):
            await self._delete_all(names)
            deleted += len(names)
        return deleted

    async def close(self) -> None:
        await self._container.close()

    async def _delete_all(self, names: list[str]) -> None:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._delete(name))

    async def _delete(self, name: str) -> None:
        try:
            await self._container.delete_blob(name)
        except ResourceNotFoundError as error:
            if code_of(error) != "BlobNotFound":
                raise


async def _batches(blobs: AsyncIterator[BlobProperties], *, before: float | None = None) -> AsyncIterator[list[str]]:
    """The names of all blobs, or of those that were written `before`."""
    names: list[str] = []
    async for blob in blobs:
        if before is None or float(blob.metadata[_WRITTEN_AT]) < before:
            names.append(blob.name)
        if len(names) == _DELETIONS_AT_ONCE:
            yield names
            names = []
    if names:
        yield names


def _prefix(key: ConversationKey, *, threads: bool) -> str:
    return f"{partition_of(key)}/" if threads else f"{partition_of(key)}/{hash_of(key.thread)}/"


def _blob_name(key: ArtifactKey) -> str:
    return f"{_prefix(key.conversation, threads=False)}{hash_of(key.name)}"
