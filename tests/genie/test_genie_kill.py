"""A worker is killed while Genie works: the next one goes on with the same message."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession
from aiohttp.test_utils import TestServer

from app.local.connector_server import ConnectorServer
from app.local.genie_plans import USUAL
from app.local.model_server import ModelServer
from app.local.stand_in_workspace import SETTINGS, StandInWorkspace
from tests.fakes.activities import a_message
from tests.fakes.host_process import HostProcess
from tests.fakes.sample_data import DATA_TOKEN, DataWorkspace, small_sample_data

pytestmark = pytest.mark.proof


async def test_the_turn_of_a_killed_worker_goes_on_in_genies_conversation_and_asks_nothing_twice(
    tmp_path: Path,
) -> None:
    workspace = DataWorkspace(small_sample_data())
    workspace.genie.plans.append(replace(USUAL, held_in="ASKING_AI"))
    stand_in = StandInWorkspace(ModelServer("http://127.0.0.1:9", "key"), DATA_TOKEN, workspace.parts)
    async with TestServer(stand_in.application(), host="127.0.0.1") as server, ConnectorServer() as connector:
        settings = {
            **SETTINGS,
            "DATABRICKS_BASE_URL": f"http://127.0.0.1:{server.port}/serving-endpoints",
            "DATABRICKS_TOKEN": DATA_TOKEN,
            "DATA_DIR": str(tmp_path),
            "TURN_LEASE_SECONDS": "2",
        }
        first = HostProcess(**settings)
        in_teams = {"channelId": "msteams", "conversation": {"id": "c1", "conversationType": "personal"}}
        activity = a_message(connector.service_url, "How did revenue develop by month?", **in_teams)
        address = await asyncio.to_thread(first.address)
        async with ClientSession() as client:
            asked = asyncio.ensure_future(client.post(f"{address}/api/messages", json=activity))
            async with asyncio.timeout(30):
                while not any("Writing SQL" in call.text for call in connector.calls):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            first.kill()
            with pytest.raises(ClientError):
                await asked
        second = HostProcess(**settings)
        await asyncio.to_thread(second.address)
        workspace.genie.release("ASKING_AI")
        shown = await connector.next_message(60)
        assert "Revenue by month: 80 rows" in shown.text
        assert shown.activity["attachments"], "its chart and table"
        assert len(workspace.genie.asked) == 1
        assert len(workspace.genie.messages()) == 1
        await asyncio.to_thread(second.end)
    workspace.database.close()
