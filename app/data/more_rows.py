"""Reads the chunks of a result that follow its first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.common.identity import RequestIdentity
from app.common.json_values import items, mapping
from app.data.result_set import MAX_ROWS, ResultSet, result_set
from app.databricks.statement_chunks import NextChunk, StatementChunks, next_chunk
from app.databricks.workspace_errors import WorkspaceError


def first_rows(response: Mapping[str, Any]) -> tuple[ResultSet, NextChunk | None]:
    """Of a StatementResponse. Raises `ValueError` where its manifest names no columns."""
    result = result_set(mapping(response.get("manifest")), items(mapping(response.get("result")).get("data_array")))
    return result, next_chunk(response)


async def with_more_rows(
    result: ResultSet,
    unread: NextChunk | None,
    chunks: StatementChunks,
    identity: RequestIdentity,
    *,
    at_least: int = MAX_ROWS,
) -> tuple[ResultSet, NextChunk | None]:
    """Reads chunks until the result has `at_least` that many rows or all. Raises `WorkspaceError` if none was read."""
    missing = min(at_least, MAX_ROWS) - len(result.rows)
    if unread is None or missing <= 0:
        return result, unread if len(result.rows) < MAX_ROWS else None
    rows, unread = await chunks.read(unread, identity, at_least=missing)
    result = result.with_more(rows)
    return result, unread if len(result.rows) < MAX_ROWS else None


async def all_rows(
    response: Mapping[str, Any], chunks: StatementChunks, identity: RequestIdentity
) -> tuple[ResultSet, NextChunk | None]:
    """The rows of a StatementResponse, `MAX_ROWS` at most. Chunks that cannot be read now stay unread."""
    result, unread = first_rows(response)
    try:
        return await with_more_rows(result, unread, chunks, identity)
    except WorkspaceError:
        return result, unread
