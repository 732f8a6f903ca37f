"""Results of queries as files of the page."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from agent_server.http.error_answers import error_answer
from agent_server.http.result_routes import result_routes
from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.api_error import ApiError
from app.data.csv_files import CsvFiles
from app.data.result_set import ResultColumn, ResultSet
from app.data.stored_results import StoredResults, stored_now
from app.databricks.statement_chunks import StatementChunks
from app.storage.conversations import ConversationKey
from app.storage.factory import open_storage
from tests.fakes.tools import tool_context
from tests.fakes.workspaces import workspace_at

RESULT = ResultSet((ResultColumn("name", "STRING"), ResultColumn("id", "BIGINT")), (("Zürich", 2**60 + 1), ("=1+1", 2)))


@pytest.fixture
async def downloads(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """As Ann asks in her conversation `c1`, where there is a result of the id."""
    storage = open_storage(tmp_path / "store.sqlite")
    results = StoredResults(storage.artifacts)
    stored = stored_now(tool_context(), "Umsatz “2026”; drop", RESULT)
    await results.save(ConversationKey(ServerCaller("ann").tenant, "c1"), stored)
    app = FastAPI()

    def identify(headers: Mapping[str, str]) -> ServerCaller:
        return ServerCaller(headers["x-forwarded-user"])

    async def said(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error_answer(error)

    app.add_exception_handler(ApiError, said)
    async with workspace_at("http://127.0.0.1:9") as workspace:
        app.include_router(result_routes(CsvFiles(results, StatementChunks(workspace)), identify))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent") as http:
            yield http, stored.id
    await storage.close()


async def test_a_result_is_a_file_of_its_owner_with_all_digits(downloads: tuple[httpx.AsyncClient, str]) -> None:
    http, id = downloads
    answer = await http.get(f"/api/conversations/c1/results/{id}", headers={"x-forwarded-user": "ann"})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith('attachment; filename="Umsatz_2026_drop.csv"')
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    assert rows == [["name", "id"], ["Zürich", str(2**60 + 1)], ["'=1+1", "2"]]


@pytest.mark.parametrize(
    ("owner", "path"), [("ben", "c1/results/{}"), ("ann", "c2/results/{}"), ("ann", "c1/results/no")]
)
async def test_to_others_and_elsewhere_there_is_no_such_result(
    downloads: tuple[httpx.AsyncClient, str], owner: str, path: str
) -> None:
    http, id = downloads
    answer = await http.get(f"/api/conversations/{path.format(id)}", headers={"x-forwarded-user": owner})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "result_not_found")
    assert "Zürich" not in answer.text
