"""Chunks of a result: each is read once and in order, whatever the workspace answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.common.identity import APP_IDENTITY
from app.databricks.statement_chunks import NextChunk, StatementChunks, next_chunk
from app.databricks.workspace_errors import WorkspaceNotFoundError
from tests.fakes.workspaces import workspace_at

Chunk = Mapping[str, Any]


@asynccontextmanager
async def chunks_of(*answers: Chunk | None) -> AsyncIterator[tuple[StatementChunks, list[int]]]:
    """The chunks from the second one on; None is one that is not kept any more."""
    asked: list[int] = []

    async def chunk(request: web.Request) -> web.Response:
        asked.append(int(request.match_info["index"]))
        answer = answers[asked[-1] - 1]
        return web.json_response(
            {"error_code": "NOT_FOUND"} if answer is None else answer, status=200 if answer else 404
        )

    app = web.Application()
    app.add_routes([web.get("/api/2.0/sql/statements/s1/result/chunks/{index}", chunk)])
    async with TestServer(app) as server, workspace_at(f"http://127.0.0.1:{server.port}") as workspace:
        yield StatementChunks(workspace), asked


FIRST = NextChunk("s1", 1)


@pytest.mark.parametrize(
    ("answers", "at_least", "rows", "following"),
    [
        ([{"data_array": [["1"]], "next_chunk_index": 2}, {"data_array": [["2"]]}], 5, 2, None),
        ([{"data_array": [["1"]], "next_chunk_index": 2}, {"data_array": [["2"]]}], 1, 1, NextChunk("s1", 2)),
        ([{"result": {"data_array": [["1"]]}}], 5, 1, None),
        ([{"data_array": [], "next_chunk_index": 2}, {"data_array": [["2"]]}], 1, 1, None),
        ([{"next_chunk_index": 2}, {"data_array": [["2"]]}], 1, 1, None),
        ([{"data_array": [["1"]], "next_chunk_index": 1}], 5, 1, None),
        ([{"data_array": [["1"]], "next_chunk_index": 0}], 5, 1, None),
        ([{"data_array": [["1"]], "next_chunk_index": "2"}], 5, 1, None),
        ([{"data_array": "?", "next_chunk_index": None}], 5, 0, None),
        ([{"data_array": [["1"]], "next_chunk_index": 2}, None], 5, 1, NextChunk("s1", 2)),
        ([{"external_links": [{"external_link": "https://evil.example"}]}], 5, 0, None),
    ],
)
async def test_rows_are_read_as_far_as_they_are_wanted_or_there(
    answers: list[Chunk | None], at_least: int, rows: int, following: NextChunk | None
) -> None:
    async with chunks_of(*answers) as (chunks, asked):
        found, left = await chunks.read(FIRST, APP_IDENTITY, at_least=at_least)
        assert (len(found), left) == (rows, following)
        assert len(asked) == len(set(asked))


async def test_a_result_that_is_kept_no_longer_is_told() -> None:
    async with chunks_of(None) as (chunks, _):
        with pytest.raises(WorkspaceNotFoundError):
            await chunks.read(FIRST, APP_IDENTITY, at_least=1)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({"statement_id": "s1", "result": {"chunk_index": 0, "next_chunk_index": 1}}, FIRST),
        ({"statement_id": "s1", "result": {"chunk_index": 0}}, None),
        ({"statement_id": "s1"}, None),
        ({"result": {"next_chunk_index": 1}}, None),
        ({"statement_id": "s1", "result": {"next_chunk_index": True}}, None),
        ({"statement_id": "s1", "result": "?"}, None),
    ],
)
def test_the_first_response_names_the_next_chunk(response: Chunk, expected: NextChunk | None) -> None:
    assert next_chunk(response) == expected
