"""The last results of a conversation, kept to be leafed through and drawn again; deleted with the conversation."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from app.common.identity import identity_key
from app.common.keyed_locks import KeyedLocks
from app.content.blocks import Link
from app.data.result_set import ResultSet
from app.databricks.statement_chunks import NextChunk
from app.storage.artifacts import MAX_ARTIFACT_BYTES, Artifact, ArtifactKey, ArtifactStore
from app.storage.conversations import ConversationKey
from app.tools.base import ToolContext

_log = logging.getLogger(__name__)

MAX_KEPT = 10
"""Results of each conversation and identity whose rows are kept."""
MAX_QUERIES = 100
"""Those that can be run again."""
_JSON = "application/json"
_IDS = TypeAdapter(list[str])


class Query(BaseModel):
    """A query that can be run again. `capability` knows what its `ids` mean (`app.data.rerun.QueryRunner`)."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    capability: str
    sql: str = ""
    ids: Mapping[str, str] = {}


class StoredResult(BaseModel):
    """`as_of` is when the query ran, and `identity` as whom (`app.common.identity.identity_key`). `unread` is the first
    chunk that has not been read from Databricks. `explanation` is Markdown. Without `has_rows` only the query is kept.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    id: str
    title: str
    result: ResultSet
    as_of: datetime
    identity: str
    query: Query | None = None
    explanation: str = ""
    source: Link | None = None
    unread: NextChunk | None = None
    has_rows: bool = True


class StoredResults:
    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        # Two tools of one step may both have a result.
        self._locks = KeyedLocks()

    async def save(self, conversation: ConversationKey, stored: StoredResult) -> None:
        """Replaces an earlier result of that id. A result that is too large keeps its first rows; the oldest results
        lose their rows and keep their queries. Raises `StorageError`.
        """
        # 5,000 rows as JSON would hold the event loop for milliseconds more.
        content = await asyncio.to_thread(_content, stored)
        await self._artifacts.put(Artifact(_key(conversation, stored.id), content, _JSON))
        async with self._locks.of(conversation):
            ids = await self._ids(conversation, stored.identity)
            if stored.id in ids:
                return
            ids = [*ids, stored.id]
            index = _IDS.dump_json(ids[-MAX_QUERIES:])
            await self._artifacts.put(Artifact(_index_key(conversation, stored.identity), index, _JSON))
            for id in ids[:-MAX_QUERIES]:
                await self._artifacts.delete(_key(conversation, id))
            for id in ids[-MAX_KEPT - 1 : -MAX_KEPT]:
                await self._forget_rows(conversation, id)

    async def last(self, conversation: ConversationKey, identity: str) -> StoredResult | None:
        """Raises `StorageError`."""
        ids = await self._ids(conversation, identity)
        return await self.find(conversation, identity, ids[-1]) if ids else None

    async def find(self, conversation: ConversationKey, identity: str, id: str) -> StoredResult | None:
        """None if it is unknown, has lost its rows, or was read by another identity. Raises `StorageError`."""
        stored = await self._get(conversation, id)
        return stored if stored is not None and stored.has_rows and stored.identity == identity else None

    async def find_query(self, conversation: ConversationKey, id: str) -> StoredResult | None:
        """A result without its rows, whichever identity read it: its query can be run again. Raises `StorageError`."""
        stored = await self._get(conversation, id)
        if stored is None:
            return None
        return _without_rows(stored)

    async def remove(self, conversation: ConversationKey, ids: Sequence[str]) -> None:
        """Raises `StorageError`."""
        for id in ids:
            stored = await self._get(conversation, id)
            if stored is None:
                continue
            async with self._locks.of(conversation):
                others = [each for each in await self._ids(conversation, stored.identity) if each != id]
                index = _IDS.dump_json(others)
                await self._artifacts.put(Artifact(_index_key(conversation, stored.identity), index, _JSON))
                await self._artifacts.delete(_key(conversation, id))

    async def _forget_rows(self, conversation: ConversationKey, id: str) -> None:
        if (stored := await self._get(conversation, id)) is not None:
            query = _without_rows(stored)
            await self._artifacts.put(Artifact(_key(conversation, id), _content(query), _JSON))

    async def _get(self, conversation: ConversationKey, id: str) -> StoredResult | None:
        artifact = await self._artifacts.get(_key(conversation, id))
        if artifact is None:
            return None
        try:
            return StoredResult.model_validate_json(artifact.content)
        except ValidationError as error:
            _log.warning("A stored result cannot be read (%d errors)", error.error_count())
            return None

    async def _ids(self, conversation: ConversationKey, identity: str) -> list[str]:
        """Oldest first."""
        artifact = await self._artifacts.get(_index_key(conversation, identity))
        try:
            return [] if artifact is None else _IDS.validate_json(artifact.content)
        except ValidationError:
            return []


def stored_now(
    context: ToolContext,
    title: str,
    result: ResultSet,
    *,
    query: Query | None = None,
    explanation: str = "",
    source: Link | None = None,
    unread: NextChunk | None = None,
) -> StoredResult:
    """The result of a tool call. Its id comes from the call, so a resumed turn that repeats the call replaces it."""
    return StoredResult(
        id=hashlib.sha256(context.idempotency_key.encode()).hexdigest()[:12],
        title=title,
        result=result,
        as_of=datetime.now(UTC),
        identity=identity_key(context.identity),
        query=query,
        explanation=explanation,
        source=source,
        unread=unread,
    )


def _without_rows(stored: StoredResult) -> StoredResult:
    result = ResultSet(stored.result.columns, ())
    return stored.model_copy(update={"result": result, "unread": None, "has_rows": False})


def _key(conversation: ConversationKey, id: str) -> ArtifactKey:
    return ArtifactKey(conversation, f"results/{id}")


def _index_key(conversation: ConversationKey, identity: str) -> ArtifactKey:
    return ArtifactKey(conversation, f"results/of/{identity}")


def _content(stored: StoredResult) -> bytes:
    content = stored.model_dump_json().encode()
    while len(content) > MAX_ARTIFACT_BYTES and stored.result.rows:
        rows = stored.result.rows
        kept = replace(stored.result, rows=rows[: len(rows) // 2], total_rows=stored.result.total_rows or len(rows))
        stored = stored.model_copy(update={"result": kept, "unread": None})
        content = stored.model_dump_json().encode()
    return content
