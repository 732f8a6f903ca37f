"""Results come in chunks: https://docs.databricks.com/api/workspace/statementexecution/getstatementresultchunkn"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.common.identity import RequestIdentity
from app.common.json_values import items, mapping, text
from app.databricks.workspace_client import WorkspaceClient, api_path
from app.databricks.workspace_errors import WorkspaceError

_log = logging.getLogger(__name__)

_STATEMENTS = "/api/2.0/sql/statements"
_MAX_CHUNK_BYTES = 26 * 1024 * 1024
_MAX_CHUNKS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class NextChunk:
    """The first chunk of a statement's result that has not been read."""

    statement: str
    index: int


def next_chunk(response: Mapping[str, Any]) -> NextChunk | None:
    """Of a StatementResponse, whose result is its first chunk; None after the last."""
    statement, result = text(response.get("statement_id")), mapping(response.get("result"))
    index = _next_index(result, 0)
    return None if index is None or not statement else NextChunk(statement, index)


class StatementChunks:
    def __init__(self, workspace: WorkspaceClient) -> None:
        self._workspace = workspace

    async def read(
        self, chunk: NextChunk, identity: RequestIdentity, *, at_least: int
    ) -> tuple[list[Any], NextChunk | None]:
        """Rows of whole chunks, `at_least` so many if there are, and the chunk after them.

        Raises `WorkspaceError` where there are no rows; Databricks keeps a result for an hour.
        """
        rows: list[Any] = []
        following: NextChunk | None = chunk
        for _ in range(_MAX_CHUNKS_AT_ONCE):
            if following is None or len(rows) >= at_least:
                break
            try:
                told = await self._chunk(following, identity)
            except WorkspaceError as error:
                if not rows:
                    raise
                _log.warning("A chunk of a result could not be read (%s)", type(error).__name__)
                break
            rows += items(told.get("data_array"))
            index = _next_index(told, following.index)
            following = None if index is None else NextChunk(chunk.statement, index)
        return rows, following

    async def _chunk(self, chunk: NextChunk, identity: RequestIdentity) -> Mapping[str, Any]:
        path = api_path(_STATEMENTS, chunk.statement, "result", "chunks", str(chunk.index))
        told = await self._workspace.request("GET", path, identity=identity, max_reply_bytes=_MAX_CHUNK_BYTES)
        # The documentation has the chunk itself, some answers have it under "result".
        inner = told.get("result")
        return inner if isinstance(inner, Mapping) else told


def _next_index(chunk: Mapping[str, Any], index: int) -> int | None:
    """Never one that was read before: that would not end."""
    following = chunk.get("next_chunk_index")
    return following if type(following) is int and following > index else None
