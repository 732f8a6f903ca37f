"""Results of queries for MCP clients: the stand-in workspace's warehouse and Genie really run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp import Client
from mcp.types import TextContent

from agent_server.agent import answer
from agent_server.composition.host import build_services
from agent_server.handlers.registry import agent
from agent_server.server import create_server
from app.local.stand_in_workspace import SETTINGS
from tests.agent_server.http.serving import running
from tests.fakes.sample_data import DATA_TOKEN, data_workspace

BY_STATUS = {"sql": "select o_orderstatus, count(*) as orders from samples.tpch.orders group by all order by all"}
BY_REGION = {"question": "How many orders are there by region?"}


@pytest.mark.parametrize(
    ("tool", "arguments", "columns", "agent_mode"),
    [
        ("run_sql", BY_STATUS, ["o_orderstatus", "orders"], False),
        ("genie", BY_REGION, ["region", "orders"], False),
        ("genie", BY_REGION, ["region", "orders"], True),
    ],
    ids=["SQL", "Genie", "Genie's agent mode"],
)
async def test_a_result_is_its_rows_and_nobody_is_said_to_see_a_table(
    tool: str,
    arguments: dict[str, str],
    columns: list[str],
    agent_mode: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.genie.looking._FIRST_PAUSE_SECONDS", 0.005)
    agent.clear()
    agent.stream_method(answer)
    try:
        async with data_workspace() as workspace:
            environment = {
                **SETTINGS,
                "DATABRICKS_BASE_URL": f"{workspace.url}/serving-endpoints",
                "DATABRICKS_TOKEN": DATA_TOKEN,
                "DATA_DIR": str(tmp_path),
                "GENIE_AGENT_MODE": str(agent_mode).lower(),
            }
            made = build_services(create_server("agent/v1/responses", databricks_agent=True), environment)
            async with running(made) as server, Client(f"{server.address}/mcp") as client:
                listed = (await client.list_tools()).tools
                called = next(each for each in listed if each.name.startswith(tool))
                result = await client.call_tool(called.name, arguments)
            assert workspace.genie_agents.responses == int(agent_mode)
    finally:
        agent.clear()
    assert not result.is_error
    (content,) = result.content
    assert isinstance(content, TextContent)
    lines = content.text.splitlines()
    rows = lines[lines.index(json.dumps(columns)) + 1 : -1]
    assert len(rows) > 1
    assert lines[-1] == f"({len(rows)} of {len(rows)} rows)"
    assert "the person sees" not in f"{called.description}{content.text}"
