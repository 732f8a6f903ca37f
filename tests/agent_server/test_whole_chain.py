"""The bot, or an MCP client, in front of the agent server in front of the model: all as they run, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from mcp import Client

from agent_server.agent import answer
from agent_server.composition.host import build_services
from agent_server.handlers.registry import agent
from agent_server.server import create_server
from app.composition.functions_host import FunctionsHost
from app.config import load_settings
from app.local.connector_server import ConnectorServer
from tests.agent_server.http.serving import Running, running
from tests.fakes.activities import a_message
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint, Stream, chat_chunk, chat_stream


@asynccontextmanager
async def agent_server(model: ServingEndpoint, folder: Path) -> AsyncIterator[Running]:
    agent.clear()
    agent.stream_method(answer)
    try:
        environment = {
            "DATABRICKS_BASE_URL": model.base_url,
            "DATABRICKS_MODEL_NAME": model.name,
            "DATABRICKS_TOKEN": TOKEN,
            "DATA_DIR": str(folder),
        }
        made = build_services(create_server("agent/v1/responses", databricks_agent=True), environment)
        async with running(made) as server:
            yield server
    finally:
        agent.clear()


class BotInFront:
    def __init__(self, host: FunctionsHost, connector: ConnectorServer) -> None:
        self._host = host
        self._connector = connector

    async def ask(self, text: str) -> str:
        activity = a_message(self._connector.service_url, text)
        headers = {"Host": "localhost:7071", "Content-Type": "application/json"}
        assert (await self._host.receive_activity("POST", headers, json.dumps(activity).encode())).status < 300
        return [call.text for call in self._connector.calls if call.is_message][-1]


@asynccontextmanager
async def bot_in_front(address: str, folder: Path, **settings: str) -> AsyncIterator[BotInFront]:
    async with ConnectorServer() as connector:
        host = FunctionsHost(
            load_settings(
                {
                    "DATABRICKS_BASE_URL": f"{address}/api/responses",
                    "DATABRICKS_API": "responses",
                    "DATABRICKS_MODEL_NAME": "agent",
                    "DATABRICKS_TOKEN": "an-oauth-token",
                    "DATA_DIR": str(folder / "bot"),
                    **settings,
                }
            )
        )
        try:
            yield BotInFront(host, connector)
        finally:
            await host.close()


async def test_the_bot_asks_an_agent_server_as_its_model_and_sends_the_conversation_with_each_question(
    tmp_path: Path,
) -> None:
    async with ServingEndpoint() as model, agent_server(model, tmp_path) as server:
        model.replies += [chat_stream("It is ", "Oslo."), chat_stream("About 700,000.")]
        async with bot_in_front(server.address, tmp_path) as bot:
            first = await bot.ask("What is the capital of Norway?")
            second = await bot.ask("How many people live there?")
    assert (first, second) == ("It is Oslo.", "About 700,000.")
    assert len(model.asked) == 2
    said = [(message["role"], message["content"]) for message in model.asked[1].body["messages"][1:]]
    assert said[:2] == [("user", "What is the capital of Norway?"), ("assistant", "It is Oslo.")]
    assert said[2][1].endswith("How many people live there?")


async def test_a_sign_in_that_an_app_answers_with_a_redirect_is_explained_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def redirect(_: web.Request) -> web.Response:
        where = "https://adb-1.azuredatabricks.net/oidc/oauth2/v2.0/authorize?client_id=x"
        return web.Response(status=302, headers={"Location": where})

    app = web.Application()
    app.router.add_post("/api/responses", redirect)
    async with (
        TestServer(app, host="127.0.0.1") as refusing,
        bot_in_front(f"http://127.0.0.1:{refusing.port}", tmp_path, DATABRICKS_TOKEN=TOKEN) as bot,
    ):
        said = await bot.ask("What is the capital of Norway?")
    assert "did not accept this agent's sign-in" in said
    assert "a Databricks App takes an OAuth token, and no personal access token" in caplog.text
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("store", [True, False])
async def test_a_client_that_leaves_ends_the_request_to_the_model(tmp_path: Path, store: bool) -> None:
    async with ServingEndpoint() as model, agent_server(model, tmp_path) as server:
        model.replies.append(Stream([chat_chunk({"role": "assistant", "content": "It is "}), "hang"]))
        async with server.client() as client:
            asked = {"input": "What is the capital of Norway?", "stream": True, "store": store}
            async with client.stream("POST", "/responses", json=asked) as answer:
                async for line in answer.aiter_lines():
                    if "It is" in line:
                        break
            async with asyncio.timeout(10):
                await model.disconnected.wait()


async def test_an_mcp_client_asks_the_databricks_agent_and_uses_its_tools(tmp_path: Path) -> None:
    async with ServingEndpoint() as model, agent_server(model, tmp_path) as server:
        model.replies += [chat_stream("It is Oslo."), chat_stream("About 700,000.")]
        async with Client(f"{server.address}/mcp") as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            first = await client.call_tool("ask", {"question": "What is the capital of Norway?"})
            previous = first.structured_content["response_id"]
            second = await client.call_tool(
                "ask", {"question": "How many live there?", "previous_response_id": previous}
            )
            time = await client.call_tool("current_time", {"time_zone": "Europe/Oslo"})
    assert names[:2] == ["ask", "get_answer"]
    assert "current_time" in names
    assert (first.structured_content["text"], second.structured_content["text"]) == ("It is Oslo.", "About 700,000.")
    assert [message["role"] for message in model.asked[1].body["messages"]] == ["system", "user", "assistant", "user"]
    assert not time.is_error
