"""Tools of a real MCP server over HTTP: found, called, approved, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from app.common.caller import UNKNOWN_CALLER
from app.databricks.credentials import PersonalAccessToken
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_url import WorkspaceUrl
from app.mcp_tools.provider import McpTools
from app.models.model import ToolCall
from app.settings.mcp_settings import McpSettings
from app.tools.base import Effect, ToolResult
from app.tools.foreign_schema import acceptable_schema
from app.tools.registry import ToolRegistry
from tests.fakes.mcp_server import SECRET, FakeMcpServer
from tests.fakes.tools import tool_context

TOKEN = "a-databricks-token"


@asynccontextmanager
async def mcp_tools(
    *servers: dict[str, Any], workspace: str = "https://w.example", secrets: str = ""
) -> AsyncIterator[McpTools]:
    settings = McpSettings.model_validate(
        {"MCP_SERVERS": json.dumps(servers), **({"MCP_SECRETS": secrets} if secrets else {})}
    )
    client = WorkspaceClient(WorkspaceUrl.parse(workspace), PersonalAccessToken(SecretStr(TOKEN)))
    tools = McpTools(settings, client)
    try:
        yield tools
    finally:
        await tools.close()
        await client.close()


async def registry_of(tools: McpTools) -> ToolRegistry:
    for _ in range(20):
        registry = ToolRegistry(await tools.tools(UNKNOWN_CALLER))
        if not any("still" in each.reason.english for each in registry.unavailable):
            break
    return registry


async def call(registry: ToolRegistry, tool: str, seconds: float = 20, **arguments: Any) -> ToolResult:
    deadline = asyncio.get_running_loop().time() + seconds
    return await registry.run(ToolCall("1", tool, json.dumps(arguments)), tool_context(deadline=deadline))


@pytest.mark.parametrize("transport", [{}, {"json_response": True}, {"stateless": True}])
async def test_the_tools_of_a_server_are_offered_as_they_are_and_called(transport: dict[str, Any]) -> None:
    async with (
        FakeMcpServer(**transport) as server,
        mcp_tools({"name": "calc", "url": server.url, "read_only": ["add"], "meta": {"num_results": 3}}) as tools,
    ):
        registry = await registry_of(tools)
        add = registry.find("calc__add")
        assert add is not None
        assert add.description == "Adds two numbers"
        assert add.definition.parameters["properties"]["b"] == {"default": 1, "type": "integer"}
        assert add.title == "calc: add"
        assert (await call(registry, "calc__add", a=1, b=2)).text == "3"
        assert "num_results" in (await call(registry, "calc__meta")).text
        before = len(server.requests)
        for _ in range(3):
            assert (await call(registry, "calc__add", a=1)).text == "2"
        assert len(server.requests) - before == 3, "the connection is kept"
        assert "a" in (await call(registry, "calc__add", b="many")).text


async def test_only_what_the_administrator_lists_runs_without_an_approval() -> None:
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url, "read_only": ["add"]}) as tools:
        effects = {tool.name: tool.effect for tool in (await registry_of(tools)).tools}
    assert effects.pop("s__add") is Effect.READ_ONLY
    assert set(effects.values()) == {Effect.NEEDS_APPROVAL}, "the server says of drop_table that it only reads"


async def test_one_broken_server_is_named_and_takes_nothing_from_the_others() -> None:
    async with (
        FakeMcpServer() as good,
        FakeMcpServer() as refusing,
        mcp_tools(
            {"name": "gone", "url": "http://127.0.0.1:9/mcp"},
            {"name": "refusing", "url": refusing.url},
            {"name": "good", "url": good.url},
        ) as tools,
    ):
        refusing.refuse_with = 403
        registry = await registry_of(tools)
        reasons = {each.name: each.reason.english for each in registry.unavailable}
        assert set(reasons) == {"gone", "refusing"}
        assert "does not answer" in reasons["gone"]
        assert "refuses access" in reasons["refusing"]
        assert (await call(registry, "good__add", a=1)).text == "2"


@pytest.mark.parametrize("transport", [{}, {"json_response": True}])
async def test_what_hangs_floods_leaks_or_fails_is_told_and_the_server_serves_on(transport: dict[str, Any]) -> None:
    async with (
        FakeMcpServer(**transport) as server,
        mcp_tools({"name": "s", "url": server.url, "read_only": ["add"]}) as tools,
    ):
        registry = await registry_of(tools)
        assert "did not end within 0." in (await call(registry, "s__hang", seconds=0.5)).text
        flood = await call(registry, "s__flood", characters=50_000_000)
        assert not flood.succeeded
        assert len(flood.text) < 1_000
        long = await call(registry, "s__flood", characters=100_000)
        assert long.succeeded
        assert "was left out" in long.text
        for name in ("s__leak", "s__fail"):
            assert SECRET not in (await call(registry, name)).text
        assert "no warehouse" in (await call(registry, "s__fail")).text
        assert (await call(registry, "s__add", a=1)).text == "2"


async def test_a_server_that_dies_and_comes_back_is_used_again() -> None:
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url, "read_only": ["add"]}) as tools:
        registry = await registry_of(tools)
        assert (await call(registry, "s__add", a=1)).text == "2"
        await server.stop()
        gone = await call(registry, "s__add", a=1)
        assert not gone.succeeded
        assert "s" in gone.text
        server.mcp = server._server()
        await server.start()
        assert (await call(registry, "s__add", a=1)).text == "2"
        assert (await call(registry, "s__drop_table", name="t")).text == "dropped t"
        assert server.calls[-1] == ("drop_table", "t")


async def test_a_call_that_changes_something_is_not_repeated_after_a_broken_connection() -> None:
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url}) as tools:
        registry = await registry_of(tools)
        running = asyncio.create_task(call(registry, "s__hang"))
        await server.called.wait()
        await server.stop()
        assert not (await running).succeeded
        assert server.calls == [("hang", None)]


async def test_a_renamed_tool_is_found_under_its_new_name_in_the_next_turn() -> None:
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url, "read_only": ["add"]}) as tools:
        registry = await registry_of(tools)
        server.rename("add", "sum")
        assert not (await call(registry, "s__add", a=1)).succeeded
        for _ in range(50):
            registry = await registry_of(tools)
            if registry.find("s__sum"):
                break
            await asyncio.sleep(0.05)
        assert registry.find("s__sum") is not None
        assert registry.find("s__add") is None


async def test_the_token_of_databricks_goes_to_the_workspace_alone_and_a_secret_to_its_server() -> None:
    async with FakeMcpServer() as own, FakeMcpServer() as other, FakeMcpServer() as plain:
        named = [
            {"name": "own", "url": own.url},
            {"name": "other", "url": other.url},
            {"name": "plain", "url": plain.url},
        ]
        workspace = own.url.removesuffix("/mcp")
        async with mcp_tools(*named, workspace=workspace, secrets='{"other": "s3cret"}') as tools:
            registry = await registry_of(tools)
            assert (await call(registry, "own__add", a=1)).text == "2"
        assert {request.get("authorization") for request in own.requests} == {f"Bearer {TOKEN}"}
        assert {request.get("authorization") for request in other.requests} == {"Bearer s3cret"}
        assert {request.get("authorization") for request in plain.requests} == {None}


@pytest.mark.parametrize("path", ["ai-search/main/docs/index", "functions/main/sales"])
async def test_a_managed_server_gets_the_workspaces_token_and_its_meta_and_its_tools_keep_their_names(
    path: str,
) -> None:
    meta = {"num_results": 5, "filters": '{"year": 2026}', "query_type": "HYBRID"}
    async with FakeMcpServer(path=f"/api/2.0/mcp/{path}", json_response=True) as server:
        server.rename("meta", "main__docs__index")
        named = {"name": "docs", "url": server.url, "read_only": ["main__docs__index"], "meta": meta}
        async with mcp_tools(named, workspace=f"http://127.0.0.1:{server.port}") as tools:
            registry = await registry_of(tools)
            search, add = registry.find("docs__main__docs__index"), registry.find("docs__add")
            assert search is not None
            assert add is not None
            assert (search.effect, add.effect) == (Effect.READ_ONLY, Effect.NEEDS_APPROVAL)
            result = await call(registry, search.name)
        assert result.is_untrusted
        assert all(f"{name!r}: {value!r}" in result.text for name, value in meta.items()), result.text
        assert {request.get("authorization") for request in server.requests} == {f"Bearer {TOKEN}"}


async def test_a_redirect_to_another_host_is_not_followed() -> None:
    async with FakeMcpServer() as own, FakeMcpServer() as other:
        own.redirect_to = other.url
        async with mcp_tools({"name": "own", "url": own.url}, workspace=own.url.removesuffix("/mcp")) as tools:
            assert [each.name for each in (await registry_of(tools)).unavailable] == ["own"]
        assert other.requests == []


async def test_progress_is_shown_without_secrets_of_its_own_making() -> None:
    said: list[str] = []
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url, "read_only": ["hang"]}) as tools:
        registry = await registry_of(tools)
        server.released.set()
        result = await registry.run(ToolCall("1", "s__hang", "{}"), tool_context(said.append))
        assert result.text == "released"
    assert [line.startswith("Half way") for line in said] == [True]


@pytest.mark.parametrize("read_only", [["add"], []])
async def test_a_lost_session_is_begun_anew_and_the_call_made_once(read_only: list[str]) -> None:
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url, "read_only": read_only}) as tools:
        registry = await registry_of(tools)
        server.lost_sessions = 1
        assert (await call(registry, "s__add", a=1)).text == "2"
        assert server.calls == [("add", (1, 1))]


@pytest.mark.parametrize(
    ("schema", "is_offered"),
    [
        ({"type": "object"}, True),
        ({"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/x"}]}}}, True),
        ({"type": "object", "description": "x" * 30_000}, False),
    ],
)
async def test_a_schema_that_is_too_long_costs_no_other_tool(schema: dict[str, Any], is_offered: bool) -> None:
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url}) as tools:
        server.mcp._tool_manager._tools["leak"].parameters = schema
        registry = await registry_of(tools)
        leak = registry.find("s__leak")
        assert (leak is not None) is is_offered
        assert leak is None or leak.definition.parameters == acceptable_schema(schema)
        assert registry.find("s__add") is not None


async def test_nothing_of_mcp_is_imported_where_no_server_is_configured() -> None:
    code = "import sys, app.composition.functions_host; print({'mcp', 'httpx2', 'anyio'} & set(sys.modules))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().strip() == "set()"
