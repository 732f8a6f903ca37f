"""The stand-in Foundry project, asked by the real azure-ai-projects client and its openai client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from azure.ai.projects.aio import AIProjectClient
from azure.ai.projects.models import FunctionTool, PromptAgentDefinition
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from openai import AsyncOpenAI, InternalServerError, NotFoundError, RateLimitError

from app.local.foundry_stand_in.server import PROJECT_PATH, FoundryStandIn
from tests.fakes.foundry_project import project_client, served, until

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


@pytest.mark.parametrize(
    ("end", "status", "detail"),
    [
        ("incomplete", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("failed", "failed", "server_error"),
        ("expired", "expired", None),
        ("cancelled", "cancelled", None),
        ("refusal", "completed", "message"),
        ("empty", "completed", None),
        ("approval", "completed", "mcp_approval_request"),
        ("consent", "incomplete", "oauth_consent_request"),
        ("no_tool", "completed", "message"),
        ("stuck", "failed", "server_error"),
    ],
)
async def test_a_run_ends_as_it_is_asked_to(
    project: AIProjectClient,
    openai: AsyncOpenAI,
    stand_in: FoundryStandIn,
    end: str,
    status: str,
    detail: str | None,
) -> None:
    await project.agents.create_version("orchestrator", definition=ORCHESTRATOR, **HTTP)
    stand_in.runs.ends.append(end)
    response = await openai.responses.create(input="How many orders?", background=True, extra_body=REFERENCE)
    if end == "stuck":
        stand_in.clock.advance(601)
    await until(lambda: not stand_in.running())
    response = await openai.responses.retrieve(response.id)
    found: list[str | None] = [item.type for item in response.output]
    found += [response.error.code] if response.error else []
    found += [response.incomplete_details.reason] if response.incomplete_details else []
    assert (response.status, [each for each in found if each]) == (status, [detail] if detail else [])


async def test_a_response_in_the_background_is_cancelled(
    project: AIProjectClient, openai: AsyncOpenAI, stand_in: FoundryStandIn
) -> None:
    await project.agents.create_version("orchestrator", definition=ORCHESTRATOR, **HTTP)
    stand_in.runs.ends.append("stuck")
    response = await openai.responses.create(input="How many orders?", background=True, extra_body=REFERENCE)
    assert stand_in.running() == [response.id]
    assert (await openai.responses.cancel(response.id)).status == "cancelled"
    await openai.responses.delete(response.id)
    with pytest.raises(NotFoundError):
        await openai.responses.retrieve(response.id)


async def test_a_fault_meets_the_calls_that_it_names_and_may_come_after_they_are_carried_out(
    project: AIProjectClient, openai: AsyncOpenAI, stand_in: FoundryStandIn
) -> None:
    create = "POST /openai/v1/conversations"
    stand_in.faults.add(create, 429, retry_after_seconds=3, skipped=1)
    stand_in.faults.add(create, 500, after=True)
    made = await openai.conversations.create()
    with pytest.raises(RateLimitError) as refused:
        await openai.conversations.create()
    assert refused.value.response.headers["Retry-After"] == "3"
    with pytest.raises(InternalServerError):
        await openai.conversations.create()
    assert len(stand_in.conversations.all) == 2
    assert stand_in.left()[0] == made.id
    assert stand_in.faults.calls == [create] * 3


async def test_an_unanswered_call_tells_when_it_was_reached(openai: AsyncOpenAI, stand_in: FoundryStandIn) -> None:
    fault = stand_in.faults.add("POST /openai/v1/conversations", after=True)
    calling = asyncio.create_task(openai.conversations.create())
    await fault.reached.wait()
    calling.cancel()
    assert len(stand_in.left()) == 1


async def test_another_process_asks_for_faults_and_looks_at_what_came_of_them() -> None:
    stand_in = FoundryStandIn()
    async with served(stand_in) as address, ClientSession() as client:
        control = address.removesuffix(PROJECT_PATH) + "/control/"
        await client.post(f"{control}faults", json={"call": "GET /agents", "status": 503})
        await client.post(f"{control}ends", json={"ends": ["failed"]})
        await client.post(f"{control}clock", json={"advance_seconds": 600})
        agents = f"{address}/agents?api-version=v1"
        async with client.get(agents, headers={"Authorization": "Bearer x"}) as answer:
            assert answer.status == 503
        async with client.get(f"{control}state") as answer:
            state = await answer.json()
    assert state == {"left": [], "calls": ["GET /agents"], "asked": {}, "values": {}, "malformed": []}
    assert list(stand_in.runs.ends) == ["failed"]
    assert stand_in.clock.now() > time.time() + 590
