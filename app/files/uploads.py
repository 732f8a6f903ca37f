"""Files that people upload before they ask about them, kept until a question names them by their id."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, ValidationError

from app.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from app.storage.conversations import ConversationKey
from app.tools.attached_files import AttachedFile

MAX_UPLOAD_BYTES = 10 * 1024 * 1024
_SCHEME = "upload:"
_ID = re.compile("file-[0-9a-f]{32}")
_CONTENT, _DESCRIPTION = "content", "description"


class UploadedFile(BaseModel):
    """`name` is safe to show. `created_at` is in seconds since 1970."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    name: str
    bytes: int
    created_at: int = 0

    @property
    def attached(self) -> AttachedFile:
        """As a turn of the same tenant has it."""
        return AttachedFile(self.name, f"{_SCHEME}{self.id}")


class Uploads:
    """Each belongs to a tenant: to another it looks unknown. They are kept as long as conversations are.

    Every method raises `StorageError`.
    """

    def __init__(self, artifacts: ArtifactStore, *, clock: Callable[[], float] = time.time) -> None:
        self._artifacts = artifacts
        self._clock = clock

    async def save(self, tenant: str, name: str, content: bytes) -> UploadedFile:
        id, now = f"file-{uuid.uuid4().hex}", int(self._clock())
        file = UploadedFile(id=id, name=name, bytes=len(content), created_at=now)
        # The content first: what is described is there.
        await self._artifacts.put(Artifact(_key(tenant, file.id, _CONTENT), content, "application/octet-stream"))
        description = file.model_dump_json().encode()
        await self._artifacts.put(Artifact(_key(tenant, file.id, _DESCRIPTION), description, "application/json"))
        return file

    async def find(self, tenant: str, id: str) -> UploadedFile | None:
        if not _ID.fullmatch(id):
            return None
        found = await self._artifacts.get(_key(tenant, id, _DESCRIPTION))
        try:
            return None if found is None else UploadedFile.model_validate_json(found.content)
        except ValidationError:
            return None

    async def read(self, tenant: str, id: str) -> bytes | None:
        found = await self._artifacts.get(_key(tenant, id, _CONTENT))
        return None if found is None else found.content

    async def delete(self, tenant: str, id: str) -> None:
        """A missing one is no error; what a conversation has read of it stays there."""
        await self._artifacts.delete(_key(tenant, id, _DESCRIPTION))
        await self._artifacts.delete(_key(tenant, id, _CONTENT))


def upload_id(file: AttachedFile) -> str:
    """Empty for a file that is elsewhere."""
    return file.url.removeprefix(_SCHEME) if file.url.startswith(_SCHEME) else ""


def _key(tenant: str, id: str, part: str) -> ArtifactKey:
    return ArtifactKey(ConversationKey(tenant, f"uploads/{id}"), part)
