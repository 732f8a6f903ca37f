"""The last result of a conversation, kept to be drawn again; deleted with the conversation."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from app.data.result_set import ResultSet
from app.storage.artifacts import MAX_ARTIFACT_BYTES, Artifact, ArtifactKey, ArtifactStore
from app.storage.conversations import ConversationKey

_log = logging.getLogger(__name__)

_NAME = "results/last/"
_JSON = "application/json"


class StoredResult(BaseModel):
    """`as_of` is when the query ran. `identity` is as whom (`app.common.identity.identity_key`)."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    title: str
    result: ResultSet
    as_of: datetime
    identity: str
    sql: str = ""


class StoredResults:
    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def save(self, conversation: ConversationKey, stored: StoredResult) -> None:
        """In place of the one before. Of a large one the first rows are kept. Raises `StorageError`."""
        content = stored.model_dump_json().encode()
        while len(content) > MAX_ARTIFACT_BYTES and stored.result.rows:
            rows = stored.result.rows
            kept = ResultSet(stored.result.columns, rows[: len(rows) // 2], stored.result.total_rows or len(rows))
            stored = stored.model_copy(update={"result": kept})
            content = stored.model_dump_json().encode()
        await self._artifacts.put(Artifact(ArtifactKey(conversation, _NAME + stored.identity), content, _JSON))

    async def last(self, conversation: ConversationKey, identity: str) -> StoredResult | None:
        """Raises `StorageError`."""
        artifact = await self._artifacts.get(ArtifactKey(conversation, _NAME + identity))
        if artifact is None:
            return None
        try:
            return StoredResult.model_validate_json(artifact.content)
        except ValidationError as error:
            _log.warning("A stored result cannot be read (%d errors)", error.error_count())
            return None


def stored_now(title: str, result: ResultSet, identity: str, sql: str = "") -> StoredResult:
    return StoredResult(title=title, result=result, as_of=datetime.now(UTC), identity=identity, sql=sql)
