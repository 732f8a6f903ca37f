"""The stand-in Foundry project, asked by the real azure-ai-projects client and its openai client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.ai.projects.aio import AIProjectClient
from azure.ai.projects.models import FunctionTool, PromptAgentDefinition
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from openai import AsyncOpenAI

from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.foundry_project import project_client

HTTP: dict[str, Any] = {"enforce_https": False}
SPECIALIST = FunctionTool(
    name="ask_specialist",
    description="Asks the specialist.",
    parameters={"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    strict=False,
)
ORCHESTRATOR = PromptAgentDefinition(model="gpt-5.1", instructions="Ask the specialist.", tools=[SPECIALIST])
REFERENCE = {"agent_reference": {"type": "agent_reference", "name": "orchestrator", "version": "1"}}


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


async def test_each_call_of_create_version_makes_a_version(project: AIProjectClient) -> None:
    for _ in range(3):
        made = await project.agents.create_version(
            "orchestrator", definition=ORCHESTRATOR, metadata={"made-by": "us"}, **HTTP
        )
    assert (made.name, made.version, made.metadata) == ("orchestrator", "3", {"made-by": "us"})
    agent = await project.agents.get("orchestrator", **HTTP)
    assert agent.versions.latest.definition == ORCHESTRATOR
    versions = [each.version async for each in project.agents.list_versions("orchestrator", limit=2, **HTTP)]
    assert versions == ["3", "2", "1"]
    assert [each.name async for each in project.agents.list(**HTTP)] == ["orchestrator"]


async def test_what_is_deleted_is_not_found_any_more(project: AIProjectClient, stand_in: FoundryStandIn) -> None:
    await project.agents.create_version("orchestrator", definition=ORCHESTRATOR, **HTTP)
    await project.agents.create_version("orchestrator", definition=ORCHESTRATOR, **HTTP)
    await project.agents.delete_version("orchestrator", "1", **HTTP)
    with pytest.raises(ResourceNotFoundError):
        await project.agents.get_version("orchestrator", "1", **HTTP)
    assert (await project.agents.delete("orchestrator", **HTTP)).deleted
    for _ in range(2):
        with pytest.raises(ResourceNotFoundError):
            await project.agents.delete("orchestrator", **HTTP)
    assert stand_in.left() == []


async def test_a_client_calls_the_function_that_the_agent_chose(
    project: AIProjectClient, openai: AsyncOpenAI, stand_in: FoundryStandIn
) -> None:
    await project.agents.create_version("orchestrator", definition=ORCHESTRATOR, **HTTP)
    conversation = await openai.conversations.create(metadata={"made-by": "us"})
    asked = await openai.responses.create(
        conversation=conversation.id, input="How many orders?", background=True, extra_body=REFERENCE
    )
    while asked.status in {"queued", "in_progress"}:
        asked = await openai.responses.retrieve(asked.id)
    (call,) = asked.output
    assert call.type == "function_call"
    assert (call.name, call.arguments) == ("ask_specialist", '{"query": "How many orders?"}')

    answered = await openai.responses.create(
        conversation=conversation.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "42 [1]"}],
        extra_body=REFERENCE,
    )
    assert (answered.status, answered.output_text) == ("completed", "42 [1]")
    items = [item.type async for item in await openai.conversations.items.list(conversation.id, order="asc")]
    assert items == ["message", "function_call", "function_call_output", "message"]
    await openai.conversations.delete(conversation.id)
    await project.agents.delete("orchestrator", **HTTP)
    assert stand_in.left() == []


async def test_a_caller_without_a_data_action_is_told_which(project: AIProjectClient, stand_in: FoundryStandIn) -> None:
    stand_in.denied.add("write")
    with pytest.raises(HttpResponseError, match="lacks the required data action"):
        await project.agents.create_version("orchestrator", definition=ORCHESTRATOR, **HTTP)
