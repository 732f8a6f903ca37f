"""The files of a conversation, kept as tables in Parquet."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from app.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from app.storage.conversations import ConversationKey

_log = logging.getLogger(__name__)

MAX_FILES = 5
"""Of a conversation; a further one takes the place of the oldest."""
_MAX_TABLE_CHARACTERS = 40
_NOT_IN_A_TABLE = re.compile(r"\W+", re.ASCII)


class StoredFile(BaseModel):
    """`table` is its name in SQL, `columns` are names and DuckDB's types. All attempts of a turn give the same `id`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    name: str
    table: str
    columns: tuple[tuple[str, str], ...]
    rows: int


_FILES = TypeAdapter(tuple[StoredFile, ...])


class StoredFiles:
    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def find_all(self, conversation: ConversationKey) -> Sequence[StoredFile]:
        """Oldest first. Raises `StorageError`."""
        artifact = await self._artifacts.get(_index_key(conversation))
        try:
            return () if artifact is None else _FILES.validate_json(artifact.content)
        except ValidationError as error:
            _log.warning("The list of a conversation's files cannot be read (%d errors)", error.error_count())
            return ()

    async def save(self, conversation: ConversationKey, file: StoredFile, content: bytes) -> None:
        """In place of one of that id or table, and of the oldest where there are too many. Raises `StorageError`, and
        `ValueError` for one that is too large.
        """
        await self._artifacts.put(Artifact(_key(conversation, file.id), content, "application/vnd.apache.parquet"))
        others = await self.find_all(conversation)
        kept = [each for each in others if each.id != file.id and each.table != file.table]
        kept = [*kept, file][-MAX_FILES:]
        await self._artifacts.put(Artifact(_index_key(conversation), _FILES.dump_json(tuple(kept)), "application/json"))
        for each in others:
            if each.id not in {one.id for one in kept}:
                await self._artifacts.delete(_key(conversation, each.id))

    async def read(self, conversation: ConversationKey, files: Iterable[StoredFile]) -> dict[str, bytes]:
        """By the names of their tables. Raises `StorageError`. A file that is gone meanwhile is left out."""
        found = {}
        for file in files:
            if (artifact := await self._artifacts.get(_key(conversation, file.id))) is not None:
                found[file.table] = artifact.content
        return found


def table_name(name: str) -> str:
    """The name of a file as that of a table, which needs no quotes."""
    stem = name.rpartition(".")[0] or name
    words = _NOT_IN_A_TABLE.sub("_", stem.lower()).strip("_")[:_MAX_TABLE_CHARACTERS].strip("_")
    return words if words[:1].isalpha() else f"file_{words}".rstrip("_")


def _key(conversation: ConversationKey, id: str) -> ArtifactKey:
    return ArtifactKey(conversation, f"files/{id}")


def _index_key(conversation: ConversationKey) -> ArtifactKey:
    return ArtifactKey(conversation, "files")
