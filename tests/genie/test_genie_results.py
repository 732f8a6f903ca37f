"""The result of Genie's query: run again without asking Genie anything, cancelled with the turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from app.common.cancellation import CancelReason
from app.common.identity import APP_IDENTITY
from app.data.stored_results import Query
from app.databricks.credentials import PersonalAccessToken
from app.databricks.genie_api import GenieApi
from app.genie.genie_message import parse_message
from app.genie.genie_results import GenieReruns, QueryIds
from app.local.genie_stand_in import SPACE_ID
from app.tools.base import ToolError
from tests.fakes.sample_data import DATA_TOKEN, DataWorkspace, data_workspace
from tests.fakes.tools import tool_context
from tests.fakes.workspaces import workspace_at


@dataclass
class Asked:
    data: DataWorkspace
    reruns: GenieReruns
    query: Query
    looked: asyncio.Event


@asynccontextmanager
async def asked(rows_per_chunk: int = 1000) -> AsyncIterator[Asked]:
    """Genie has answered one question."""
    token = PersonalAccessToken(SecretStr(DATA_TOKEN))
    async with data_workspace(rows_per_chunk=rows_per_chunk) as data, workspace_at(data.url, token) as workspace:
        api = GenieApi(workspace)
        told = await api.start_conversation(SPACE_ID, "How did revenue develop by month?", APP_IDENTITY)
        ids = {"conversation_id": told["conversation_id"], "message_id": told["message_id"]}
        message = parse_message({**told["message"], **ids})
        while not message.ended:
            await asyncio.sleep(0.01)
            found = await api.get_message(SPACE_ID, message.conversation_id, message.message_id, APP_IDENTITY)
            message = parse_message({**found, **ids})
        assert message.query is not None
        where = QueryIds(SPACE_ID, message.conversation_id, message.message_id, message.query.attachment_id)
        looked = asyncio.Event()

        async def pause(_: float) -> None:
            looked.set()
            await asyncio.sleep(0.01)

        yield Asked(data, GenieReruns(api, pause), where.query(message.query.sql), looked)


async def test_a_query_runs_again_and_genie_is_asked_nothing() -> None:
    async with asked(rows_per_chunk=30) as genie:
        before = len(genie.data.warehouse.executed)
        result, unread = await genie.reruns.run_again(genie.query, tool_context())
        assert len(genie.data.warehouse.executed) == before + 1
        assert len(genie.data.genie.asked) == 1
        assert (len(result.rows), unread is not None) == (30, True)
        assert result.total_rows is not None
        assert result.total_rows > 30


async def test_a_query_that_is_gone_or_failed_is_a_sentence_to_act_on() -> None:
    async with asked() as genie:
        gone = genie.query.model_copy(update={"ids": {**genie.query.ids, "attachment": "other"}})
        with pytest.raises(ToolError) as failure:
            await genie.reruns.run_again(gone, tool_context())
        assert failure.value.sentence


@pytest.mark.parametrize(("reason", "cancelled"), [(CancelReason.STOPPED, 1), (CancelReason.HANDED_OVER, 0)])
async def test_stop_cancels_the_query_and_a_hand_over_does_not(reason: CancelReason, cancelled: int) -> None:
    async with asked() as genie:
        warehouse = genie.data.warehouse
        warehouse.hold()
        context = tool_context()
        task = asyncio.create_task(genie.reruns.run_again(genie.query, context))
        await genie.looked.wait()
        context.cancellation.cancel(reason)
        task.cancel()
        await asyncio.wait({task})
        warehouse.release()
        assert len(warehouse.cancelled) == cancelled


MANIFEST = {"schema": {"columns": [{"name": "n", "type_name": "INT"}]}, "total_row_count": 1}
ROWS = {"data_array": [["1"]]}


@pytest.mark.parametrize(
    ("reply", "rows"),
    [
        ({"statement_response": {"status": {"state": "SUCCEEDED"}, "manifest": MANIFEST, "result": ROWS}}, 1),
        ({"statement_response": {"status": {"state": "SUCCEEDED"}, "manifest": MANIFEST}}, 0),
        ({"statement_response": {"status": {"state": "CLOSED"}, "manifest": MANIFEST, "result": ROWS}}, 1),
        ({"statement_response": {"manifest": MANIFEST, "result": ROWS}}, 1),
        ({"manifest": MANIFEST, "result": ROWS}, 1),
        ({"statement_response": {"status": {"state": "FAILED"}, "manifest": MANIFEST}}, None),
        ({"statement_response": {"status": {"state": "CANCELED"}}}, None),
        ({"statement_response": {"status": {"state": "SUCCEEDED"}, "manifest": {}}}, None),
        ({"statement_response": None}, None),
    ],
)
async def test_each_end_of_a_query_is_rows_or_a_sentence(reply: dict[str, object], rows: int | None) -> None:
    async def execute(_: web.Request) -> web.Response:
        return web.json_response(reply)

    app = web.Application()
    message = "/api/2.0/genie/spaces/s/conversations/c/messages/m"
    app.add_routes([web.post(f"{message}/attachments/a/execute-query", execute)])
    async with TestServer(app) as server, workspace_at(f"http://127.0.0.1:{server.port}") as workspace:
        reruns = GenieReruns(GenieApi(workspace), asyncio.sleep)
        query = QueryIds("s", "c", "m", "a").query("select 1")
        if rows is None:
            with pytest.raises(ToolError) as failure:
                await reruns.run_again(query, tool_context())
            assert failure.value.sentence
        else:
            result, _ = await reruns.run_again(query, tool_context())
            assert len(result.rows) == rows
