"""Artifacts in a SQLite file. `SqliteStore` deletes them with their conversation."""

from __future__ import annotations

from typing import Any

from app.common.text import replace_lone_surrogates
from app.storage.artifacts import Artifact, ArtifactKey, check_artifact
from app.storage.sqlite.sqlite_file import SqliteFile

_PUT = """
INSERT OR REPLACE INTO artifact (tenant, conversation, thread, name, content, content_type, written_at)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_GET = """
SELECT content, content_type FROM artifact WHERE tenant = ? AND conversation = ? AND thread = ? AND name = ?
"""
_DELETE = "DELETE FROM artifact WHERE tenant = ? AND conversation = ? AND thread = ? AND name = ?"


class SqliteArtifacts:
    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def put(self, artifact: Artifact) -> None:
        check_artifact(artifact)
        row = (*_columns(artifact.key), artifact.content, artifact.content_type, self._file.clock())
        await self._file.run_transaction(lambda connection: connection.execute(_PUT, row))

    async def get(self, key: ArtifactKey) -> Artifact | None:
        row: tuple[Any, ...] | None = await self._file.run_transaction(
            lambda connection: connection.execute(_GET, _columns(key)).fetchone()
        )
        return None if row is None else Artifact(key, *row)

    async def delete(self, key: ArtifactKey) -> None:
        await self._file.run_transaction(lambda connection: connection.execute(_DELETE, _columns(key)))

    async def close(self) -> None:
        """Nothing: the file belongs to the store."""


def _columns(key: ArtifactKey) -> tuple[str, str, str, str]:
    conversation = key.conversation
    return (conversation.tenant, conversation.conversation, conversation.thread, replace_lone_surrogates(key.name))
