"""Artifacts in a PostgreSQL database. `PostgresStore` deletes them with their conversation."""

from __future__ import annotations

from app.storage.artifacts import Artifact, ArtifactKey, check_artifact
from app.storage.postgres.postgres_keys import conversation_columns, digest
from app.storage.postgres.postgres_pool import PostgresPool

_PUT = """
INSERT INTO {schema}.artifact (conversation, thread, name, content, content_type, written_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (conversation, thread, name) DO UPDATE SET
  content = excluded.content, content_type = excluded.content_type, written_at = excluded.written_at
"""
_GET = "SELECT content, content_type FROM {schema}.artifact WHERE conversation = $1 AND thread = $2 AND name = $3"
_DELETE = "DELETE FROM {schema}.artifact WHERE conversation = $1 AND thread = $2 AND name = $3"
_TRANSFER_SECONDS = 60.0


class PostgresArtifacts:
    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool

    async def put(self, artifact: Artifact) -> None:
        check_artifact(artifact)
        row = (*_columns(artifact.key), artifact.content, artifact.content_type, self._pool.clock())
        await self._pool.run(lambda session: session.execute(_PUT, *row), seconds=_TRANSFER_SECONDS)

    async def get(self, key: ArtifactKey) -> Artifact | None:
        row = await self._pool.run(lambda session: session.row(_GET, *_columns(key)), seconds=_TRANSFER_SECONDS)
        return None if row is None else Artifact(key, *row)

    async def delete(self, key: ArtifactKey) -> None:
        await self._pool.run(lambda session: session.execute(_DELETE, *_columns(key)))

    async def close(self) -> None:
        """Nothing: the connections belong to the store."""


def _columns(key: ArtifactKey) -> tuple[bytes, bytes, bytes]:
    return (*conversation_columns(key.conversation), digest(key.name))
