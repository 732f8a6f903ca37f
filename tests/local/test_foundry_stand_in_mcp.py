"""The stand-in Foundry project calls MCP servers as the service does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.ai.projects.aio import AIProjectClient
from azure.ai.projects.models import MCPTool, PromptAgentDefinition
from azure.core.exceptions import HttpResponseError
from openai import AsyncOpenAI, BadRequestError
from openai.types.responses import Response

from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.foundry_project import project_client, until
from tests.fakes.mcp_server import FakeMcpServer

REFERENCE = {"agent_reference": {"type": "agent_reference", "name": "specialist"}}


@pytest.fixture
def stand_in() -> FoundryStandIn:
    return FoundryStandIn()


@pytest.fixture
async def project(stand_in: FoundryStandIn) -> AsyncIterator[AIProjectClient]:
    async with project_client(stand_in) as client:
        yield client


@pytest.fixture
async def openai(project: AIProjectClient) -> AsyncIterator[AsyncOpenAI]:
    async with project.get_openai_client(max_retries=0) as client:
        yield client


@pytest.fixture
async def server() -> AsyncIterator[FakeMcpServer]:
    server = FakeMcpServer(json_response=True, stateless=True)

    @server.mcp.tool()
    def ask(query: str) -> str:
        return query.upper()

    @server.mcp.tool()
    def ask_perhaps(query: str | None = None) -> str:
        return str(query)

    async with server:
        yield server


async def create(project: AIProjectClient, server: FakeMcpServer, **options: Any) -> None:
    tool = MCPTool(server_label="databricks", server_url=server.url, **options)
    definition = PromptAgentDefinition(model="gpt-5.1", tools=[tool])
    await project.agents.create_version("specialist", definition=definition, enforce_https=False)


async def ask(openai: AsyncOpenAI, text: str, **options: Any) -> Response:
    response: Response = await openai.responses.create(input=text, extra_body=REFERENCE, **options)
    return response


async def test_an_allowed_tool_that_needs_no_approval_is_called_with_the_keys_of_its_connection(
    project: AIProjectClient, openai: AsyncOpenAI, server: FakeMcpServer, stand_in: FoundryStandIn
) -> None:
    stand_in.agents.keys["bot"] = {"x-functions-key": "a key"}
    await create(project, server, allowed_tools=["ask"], require_approval="never", project_connection_id="bot")
    response = await ask(openai, "how many?")
    assert response.output_text == "HOW MANY?"
    assert [item.type for item in response.output] == ["mcp_list_tools", "mcp_call", "message"]
    assert {headers["x-functions-key"] for headers in server.requests} == {"a key"}


async def test_a_call_waits_for_its_approval_where_nothing_is_said_about_it(
    project: AIProjectClient, openai: AsyncOpenAI, server: FakeMcpServer
) -> None:
    await create(project, server, allowed_tools=["ask"])
    response = await ask(openai, "how many?")
    request = response.output[-1]
    assert request.type == "mcp_approval_request"
    assert response.status == "completed"
    answered = await openai.responses.create(
        previous_response_id=response.id,
        input=[{"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}],
        extra_body=REFERENCE,
    )
    assert answered.output_text == "HOW MANY?"


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"require_approval": "never"}, "Invalid tool schema for: ask_perhaps. 'anyOf' is not supported."),
        ({"project_connection_id": "none"}, "Connection 'none' not found"),
    ],
)
async def test_a_run_fails_where_a_listed_tool_is_not_supported_or_the_connection_is_missing(
    project: AIProjectClient, openai: AsyncOpenAI, server: FakeMcpServer, options: Any, refusal: str
) -> None:
    await create(project, server, **options)
    with pytest.raises(BadRequestError, match=refusal):
        await ask(openai, "how many?")


async def test_a_run_fails_where_the_server_refuses_the_key(
    project: AIProjectClient, openai: AsyncOpenAI, server: FakeMcpServer
) -> None:
    server.refuse_with = 401
    await create(project, server, require_approval="never")
    with pytest.raises(BadRequestError, match=r"enumerating tools from remote server: .* 401"):
        await ask(openai, "how many?")


async def test_a_key_in_the_definition_is_refused(project: AIProjectClient, server: FakeMcpServer) -> None:
    with pytest.raises(HttpResponseError, match="Use project_connection_id instead"):
        await create(project, server, headers={"x-functions-key": "a key"})


async def test_a_call_is_cut_after_100_seconds(
    project: AIProjectClient, openai: AsyncOpenAI, server: FakeMcpServer, stand_in: FoundryStandIn
) -> None:
    await create(project, server, allowed_tools=["hang"], require_approval="never")
    asking = asyncio.create_task(ask(openai, "how many?"))
    await until(server.called.is_set)
    stand_in.clock.advance(101)
    response = await asking
    assert response.output_text.startswith("The tool failed")
    assert "longer than 100 seconds" in response.output_text
