"""Artifacts of a conversation: what is larger than a row, such as a result to draw again, or a file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from app.storage.conversations import ConversationKey

MAX_ARTIFACT_BYTES = 16 * 1024 * 1024

# As in a Content-Type header: https://www.rfc-editor.org/rfc/rfc9110#name-media-type
_CONTENT_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,80}/[A-Za-z0-9!#$&^_.+-]{1,80}(; ?charset=[A-Za-z0-9_-]{1,40})?")


@dataclass(frozen=True, slots=True)
class ArtifactKey:
    """`name` may have any characters and any length."""

    conversation: ConversationKey
    name: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """`content` has at most `MAX_ARTIFACT_BYTES`. `content_type` is a media type, such as `text/csv`."""

    key: ArtifactKey
    content: bytes
    content_type: str


class ArtifactStore(Protocol):
    """Artifacts are deleted with their conversation, by `forget`, and by `delete_before`.

    Every method raises `app.storage.storage_errors.StorageError`.
    """

    async def put(self, artifact: Artifact) -> None:
        """Stores the artifact in place of an earlier one of that key. Raises `ValueError` for one that is too large,
        or whose content type is none.
        """
        ...

    async def get(self, key: ArtifactKey) -> Artifact | None: ...

    async def delete(self, key: ArtifactKey) -> None:
        """A missing one is no error."""
        ...

    async def close(self) -> None: ...


def check_artifact(artifact: Artifact) -> None:
    """Raises `ValueError` for an artifact that no engine takes."""
    if (size := len(artifact.content)) > MAX_ARTIFACT_BYTES:
        raise ValueError(f"an artifact of {size} bytes; there is room for {MAX_ARTIFACT_BYTES}")
    if not _CONTENT_TYPE.fullmatch(artifact.content_type):
        raise ValueError("the content type of an artifact is none")
