from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Literal

import httpx
import pytest
from mcp import Client, MCPError
from mcp.types import CallToolResult

from agent_server.http.server_services import ServerServices
from agent_server.identity.request_caller import SignInError
from agent_server.mcp.served_tools import AgentTools
from app.common.caller import Caller
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput
from app.tools.registry import ToolRegistry
from tests.agent_server.http.serving import (
    MemoryResponses,
    ScriptedHandler,
    in_process,
    running,
    services,
    settings,
    until,
)

SECRET = "dapi" + "0123456789abcdef" * 2


class Place(ToolArguments):
    city: str


class Tools:
    """Two that only read, one that changes something, and one that goes on with what a conversation holds."""

    def __init__(self) -> None:
        self.contexts: list[ToolContext] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.ended: list[str] = []

    async def registry_for(self, caller: Caller) -> ToolRegistry:
        return ToolRegistry([self._weather(), *self._others()])

    def _weather(self) -> AnyTool:
        async def run(arguments: Place, context: ToolContext) -> ToolOutput:
            self.contexts.append(context)
            context.progress("Asking the satellites")
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                self.ended.append("cancelled")
                raise
            if arguments.city == "Nowhere":
                raise ToolError(f"there is no such place for {SECRET}")
            return ToolOutput(f"Sunny in {arguments.city}, {SECRET}")

        return Tool("weather", "Says the weather.", Place, run, Effect.READ_ONLY, title="Weather")

    def _others(self) -> list[AnyTool]:
        async def run(_: Any, __: ToolContext) -> ToolOutput:
            raise AssertionError("it was called")

        return [
            Tool("drop_table", "Drops a table.", Place, run, Effect.NEEDS_APPROVAL),
            Tool("ask", "A tool that has the agent's name.", Place, run, Effect.READ_ONLY),
            Tool("redraw", "Draws a result again.", Place, run, Effect.READ_ONLY, needs_conversation=True),
        ]


@asynccontextmanager
async def client_of(made: ServerServices, mode: Literal["auto", "legacy"] = "auto", path: str = "/mcp") -> Any:
    async with running(made) as server, Client(f"{server.address}{path}", mode=mode) as client:
        yield client


def texts(result: Any) -> list[str]:
    assert isinstance(result, CallToolResult)
    return [item.text for item in result.content if item.type == "text"]


@pytest.mark.parametrize(("mode", "path"), [("auto", "/mcp"), ("legacy", "/mcp"), ("auto", "/api/mcp")])
async def test_the_agent_and_its_tools_that_only_read_are_served(mode: Literal["auto", "legacy"], path: str) -> None:
    tools = Tools()
    made = services(ScriptedHandler(), tools=AgentTools(tools.registry_for))
    async with client_of(made, mode, path) as client:
        listed = (await client.list_tools()).tools
        asked = await client.call_tool("ask", {"question": "How are sales?"})
        weather = await client.call_tool("weather", {"city": "Oslo"})
        nowhere = await client.call_tool("weather", {"city": "Nowhere"})
        wrong = await client.call_tool("weather", {"town": "Oslo"})
        changing = await client.call_tool("drop_table", {"city": "Oslo"})
        going_on = await client.call_tool("redraw", {"city": "Oslo"})
        unknown = await client.call_tool("nothing", {})
    assert [tool.name for tool in listed] == ["ask", "weather"]
    assert listed[1].title == "Weather"
    assert listed[1].annotations is not None
    assert listed[1].annotations.read_only_hint is True
    assert texts(asked)[0] == "Hello there"
    assert texts(weather)[0].startswith("Sunny in Oslo")
    assert SECRET not in texts(weather)[0]
    for failed, words in (
        (nowhere, "no such place"),
        (wrong, "arguments"),
        (changing, "no tool"),
        (going_on, "no tool"),
        (unknown, "no tool"),
    ):
        assert failed.is_error
        assert words in texts(failed)[0]
    assert tools.contexts[0].caller.user_id == "local"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_nobody_is_told_what_an_unexpected_failure_says(mode: Literal["auto", "legacy"]) -> None:
    async def registry_for(_: Caller) -> ToolRegistry:
        raise RuntimeError(f"no access with {SECRET}")

    async with client_of(services(tools=AgentTools(registry_for)), mode) as client:
        called = await client.call_tool("weather", {"city": "Oslo"})
        with pytest.raises(MCPError) as listing:
            await client.list_tools()
    for told in (texts(called)[0], str(listing.value)):
        assert "(error id " in told
        assert SECRET not in told
    assert called.is_error


async def test_where_answers_are_kept_a_conversation_goes_on_and_a_long_answer_is_fetched_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent_server.http.mcp_routes._WAIT_SECONDS", 0.2)
    handler = ScriptedHandler(waits=True)
    responses = MemoryResponses(handler)
    async with client_of(services(handler, responses=responses)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["ask", "get_answer"]
        begun = await client.call_tool("ask", {"question": "How are sales?"})
        handler.go_on.set()
        whole = await client.call_tool("get_answer", {"response_id": begun.structured_content["response_id"]})
        more = await client.call_tool("ask", {"question": "And costs?", "previous_response_id": "resp_0"})
        unknown = await client.call_tool("ask", {"question": "And costs?", "previous_response_id": "resp_no"})
        empty = await client.call_tool("ask", {"question": " "})
    assert begun.structured_content == {
        "text": "The answer is not complete yet.",
        "response_id": "resp_0",
        "status": "in_progress",
    }
    assert texts(whole) == ["Hello there", "response_id: resp_0 (pass it as previous_response_id to go on)"]
    assert more.structured_content["status"] == "completed"
    assert (unknown.is_error, "resp_no" in texts(unknown)[0]) == (True, True)
    assert (empty.is_error, texts(empty)) == (True, ["question is missing."])
    assert not any(response.cancelled for response in responses.kept.values())


async def test_progress_is_reported_while_a_tool_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.mcp_server.call_progress._PROGRESS_SECONDS", 0.01)
    tools = Tools()
    tools.go_on.clear()
    said: list[str | None] = []

    async def progress(_: float, __: float | None, message: str | None) -> None:
        said.append(message)
        if len(said) == 2:
            tools.go_on.set()

    async with client_of(services(tools=AgentTools(tools.registry_for))) as client:
        await client.call_tool("weather", {"city": "Oslo"}, progress_callback=progress)
    assert set(said) == {"Asking the satellites"}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_that_leaves_cancels_the_call(mode: Literal["auto", "legacy"]) -> None:
    tools = Tools()
    tools.go_on.clear()
    made = services(tools=AgentTools(tools.registry_for))
    async with running(made) as server:
        async with Client(f"{server.address}/mcp", mode=mode) as client:
            calling = asyncio.create_task(client.call_tool("weather", {"city": "Oslo"}))
            await until(lambda: tools.contexts)
            calling.cancel()
            await asyncio.gather(calling, return_exceptions=True)
        await until(lambda: tools.ended == ["cancelled"])


async def test_calls_of_tools_count_among_the_answers_that_are_made_at_the_same_time() -> None:
    tools = Tools()
    tools.go_on.clear()
    limited = settings(AGENT_SERVER_MAX_CONCURRENT_ANSWERS="1")
    made = services(tools=AgentTools(tools.registry_for), settings=limited)
    async with client_of(made) as client:
        calling = asyncio.create_task(client.call_tool("weather", {"city": "Oslo"}))
        await until(lambda: tools.contexts)
        refused = await client.call_tool("weather", {"city": "Bergen"})
        tools.go_on.set()
        called = await calling
    assert refused.is_error
    assert "1 answers at the same time" in texts(refused)[0]
    assert texts(called)[0].startswith("Sunny in Oslo")


async def test_an_answer_that_takes_too_long_is_a_sentence() -> None:
    handler = ScriptedHandler(waits=True)
    async with client_of(services(handler, settings=settings(TURN_TIMEOUT_SECONDS="0.05"))) as client:
        asked = await client.call_tool("ask", {"question": "How are sales?"})
    assert asked.is_error
    assert "longer than allowed" in texts(asked)[0]
    assert handler.ended == ["cancelled"]


LISTING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPTED = {"Accept": "application/json, text/event-stream"}


@asynccontextmanager
async def raw(made: ServerServices) -> AsyncIterator[httpx.AsyncClient]:
    async with running(made) as server, server.client() as client:
        yield client


async def test_no_address_redirects_and_only_post_is_taken() -> None:
    async with raw(services()) as client:
        posted = [await client.post(path, json=LISTING, headers=ACCEPTED) for path in ("/mcp", "/mcp/", "/api/mcp")]
        others = [await client.request(method, "/mcp") for method in ("GET", "DELETE", "OPTIONS")]
    assert [answer.status_code for answer in posted] == [200, 200, 200]
    assert [answer.status_code for answer in others] == [405, 405, 405]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json, text/event-stream", "text/event-stream"),
        ("text/event-stream", "text/event-stream"),
        ("application/json", "application/json"),
        ("application/*", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
    ],
)
async def test_a_stream_of_events_is_for_callers_that_name_it_and_others_get_json(
    accept: str, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.mcp_server.call_progress._PROGRESS_SECONDS", 0.01)
    tools = Tools()
    tools.go_on.clear()
    asked = {"name": "weather", "arguments": {"city": "Oslo"}, "_meta": {"progressToken": 7}}
    made = services(tools=AgentTools(tools.registry_for))
    async with raw(made) as client:
        asyncio.get_running_loop().call_later(0.05, tools.go_on.set)
        answer = await client.post(
            "/mcp", json={**LISTING, "method": "tools/call", "params": asked}, headers={"Accept": accept}
        )
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, content_type)
    if content_type == "application/json":
        assert answer.json()["result"]["content"][0]["text"].startswith("Sunny in Oslo")
    else:
        assert "Sunny in Oslo" in answer.text


async def test_who_asks_for_prompts_or_resources_is_told_that_there_are_none() -> None:
    async with client_of(services()) as client:
        prompts = await client.list_prompts()
        resources = await client.list_resources()
        templates = await client.list_resource_templates()
    assert (prompts.prompts, resources.resources, templates.resource_templates) == ([], [], [])


@pytest.mark.parametrize("version", [{}, {"MCP-Protocol-Version": "2026-07-28"}])
async def test_a_client_that_leaves_before_it_has_sent_the_whole_body_is_no_error_of_the_server(
    version: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """https://github.com/modelcontextprotocol/python-sdk/issues/3142"""

    async def half_of_a_body() -> AsyncIterator[bytes]:
        yield b'{"jsonrpc": "2.0", '
        raise ConnectionError

    async with raw(services()) as client:
        with suppress(ConnectionError):
            await client.post("/mcp", content=half_of_a_body(), headers={**ACCEPTED, **version})
        counted = 'agent_server_requests_total{method="POST",route="mcp",status="400"} 1.0'
        async with asyncio.timeout(10):
            while counted not in (await client.get("/metrics")).text:
                pass
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_the_host_of_the_proxy_is_taken_and_a_foreign_page_is_not() -> None:
    made = services()
    in_app = replace(made, app=type(made.app)(name="agent"))
    proxied = {**ACCEPTED, "Host": "10.1.2.3:8000", "X-Forwarded-Host": "agent-1.databricksapps.com"}
    async with raw(in_app) as client:
        program = await client.post("/mcp", json=LISTING, headers=proxied)
        page = await client.post(
            "/mcp", json=LISTING, headers={**proxied, "Origin": "https://agent-1.databricksapps.com"}
        )
        foreign = await client.post("/mcp", json=LISTING, headers={**proxied, "Origin": "https://evil.example.com"})
    assert [answer.status_code for answer in (program, page, foreign)] == [200, 200, 403]


async def test_who_is_not_signed_in_is_told_so_before_anything_is_listed() -> None:
    def refuse(_: Any) -> Any:
        raise SignInError("Sign in to the app again.")

    async with in_process(services(identify=refuse)) as client:
        answer = await client.post("/mcp", json=LISTING, headers=ACCEPTED)
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, "Sign in to the app again.")
