"""The real Function App's tools, as the real MCP client uses them."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from app.foundry.agents.project_client import open_project
from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.azurite import Azurite
from tests.fakes.deployed_app import deployed_in
from tests.fakes.foundry_project import served
from tests.fakes.serving_endpoint import HttpReply, ServingEndpoint, Stream, chat_stream
from tests.foundry.agents.conftest import ProgramHarness, quick_calls
from tests.foundry.mcp.served_mcp import KEY
from tests.foundry.mcp.test_foundry_mcp import text_of
from tests.foundry.requests.kill_run import kill_run


@asynccontextmanager
async def client_of(address: str, key: str = KEY) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(headers={"x-functions-key": key}, timeout=90) as http,
        Client(streamable_http_client(f"{address}/api/mcp", http_client=http)) as client,
    ):
        yield client


async def test_a_client_with_the_key_asks_the_agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deployed = deployed_in(monkeypatch, tmp_path)
    async with ServingEndpoint() as endpoint:
        endpoint.replies += [chat_stream("It is 7.")]
        async with deployed(endpoint, FUNCTIONS_LOCAL_KEY=KEY, DATABRICKS_MODEL_NAME=endpoint.name) as app:
            async with client_of(app.address) as client:
                names = [tool.name for tool in (await client.list_tools()).tools]
                answer = await client.call_tool("ask", {"query": "Sales?"})
            async with app.request("/api/mcp", "POST", json={}) as refused:
                assert refused.status == 401
            async with app.request("/api/mcp/entra", "POST", json={}) as not_there:
                assert not_there.status == 404
    assert names == ["ask", "ask_data", "diagnose_job", "get_result"]
    assert text_of(answer) == "It is 7."


async def test_a_call_that_is_refused_or_fails_is_an_error_also_by_its_handle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deployed = deployed_in(monkeypatch, tmp_path)
    async with ServingEndpoint() as endpoint:
        endpoint.replies += [HttpReply(400, {"message": "no"})] * 3
        async with (
            deployed(endpoint, FUNCTIONS_LOCAL_KEY=KEY, DATABRICKS_MODEL_NAME=endpoint.name) as app,
            client_of(app.address) as client,
        ):
            for arguments, words in (({}, "There is no question"), ({"query": "Sales?"}, "error id")):
                monkeypatch.setattr("app.foundry.mcp.tool_calls._WAIT_SECONDS", 0)
                begun = await client.call_tool("ask", arguments)
                assert not begun.is_error
                handle = text_of(begun).partition("the handle ")[2].split()[0]
                monkeypatch.setattr("app.foundry.mcp.tool_calls._WAIT_SECONDS", 20)
                for result in (
                    await client.call_tool("get_result", {"handle": handle}),
                    await client.call_tool("ask", arguments),
                ):
                    assert (words in text_of(result), result.is_error) == (True, True)


async def test_the_address_for_tokens_is_closed_to_who_brings_none_and_to_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    id = "11111111-2222-3333-4444-555555555555"
    identity = {"MicrosoftAppId": id, "MicrosoftAppTenantId": id, "MicrosoftAppType": "UserAssignedMSI"}
    taken = {"FOUNDRY_MCP_AUDIENCE": f"api://{id}", "FOUNDRY_MCP_CALLERS": id, "FUNCTIONS_LOCAL_KEY": KEY}
    deployed = deployed_in(monkeypatch, tmp_path)
    async with ServingEndpoint() as endpoint, deployed(endpoint, **identity, **taken) as app:
        for headers in ({}, {"x-functions-key": KEY}, {"Authorization": "Bearer a.b.c"}):
            async with app.request("/api/mcp/entra", "POST", json={}, headers=headers) as answer:
                assert (answer.status, answer.headers.get("WWW-Authenticate")) == (401, "Bearer")
        async with app.request("/api/mcp", "POST", json={}, headers={"Authorization": "Bearer a.b.c"}) as answer:
            assert answer.status == 401


async def test_an_agent_in_foundry_gets_what_took_long_by_its_handle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.foundry.mcp.tool_calls._WAIT_SECONDS", 0.1)
    deployed, answered = deployed_in(monkeypatch, tmp_path), asyncio.Event()
    stand_in = FoundryStandIn()
    stand_in.agents.keys["bot"] = {"x-functions-key": KEY}
    async with (
        ServingEndpoint() as endpoint,
        served(stand_in) as address,
        open_project(address, quick_calls()) as project,
    ):
        endpoint.replies += [Stream([answered, *chat_stream("It is 7.").steps])]
        async with deployed(endpoint, FUNCTIONS_LOCAL_KEY=KEY, DATABRICKS_MODEL_NAME=endpoint.name) as app:
            orchestrator = ProgramHarness(stand_in, address, project).orchestrator(
                FOUNDRY_MCP_URL=f"{app.address}/api/mcp", FOUNDRY_MCP_CONNECTION="bot"
            )
            await orchestrator.create()
            asking = asyncio.create_task(orchestrator.ask("How are sales?", 60))
            await endpoint.began.wait()
            asyncio.get_running_loop().call_later(0.3, answered.set)
            answer = await asking
    assert answer.text == "It is 7."
    assert answer.tool_calls[0] == "ask"
    assert set(answer.tool_calls[1:]) == {"get_result"}
    assert len(endpoint.asked) == 1


@pytest.mark.proof
async def test_what_a_killed_worker_was_answering_is_got_from_another_by_its_handle(
    azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Callable[[str], None]
) -> None:
    monkeypatch.setenv("FUNCTIONS_LOCAL_KEY", KEY)
    async with kill_run(azurite, tmp_path, workers=2, model_seconds=300) as run:
        first, second = (worker.endpoint.removesuffix("/api/messages") for worker in run.workers.current)
        async with client_of(first) as client:
            asked_at = time.monotonic()
            told = text_of(await client.call_tool("ask", {"query": "Sales?"}))
            waited = time.monotonic() - asked_at
        handle = told.partition("the handle ")[2].split()[0]
        run.model.seconds = 1
        await run.workers.kill(0, signal.SIGKILL)
        killed_at = time.monotonic()
        async with asyncio.timeout(60), client_of(second) as client:
            answer = text_of(await client.call_tool("get_result", {"handle": handle}))
    assert answer == "answer 2"
    assert 50 <= waited < 56
    figure(
        f"a handle after {waited:.1f} s; {time.monotonic() - killed_at:.1f} s after the SIGKILL another worker has it"
    )
