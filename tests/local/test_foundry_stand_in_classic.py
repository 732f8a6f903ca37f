"""The stand-in Foundry project, asked by the real azure-ai-agents client: threads, runs and connected agents."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from azure.ai.agents.aio import AgentsClient
from azure.ai.agents.models import (
    Agent,
    AzureFunctionStorageQueue,
    AzureFunctionTool,
    ConnectedAgentTool,
    FunctionDefinition,
    FunctionToolDefinition,
    MessageRole,
    RunStepToolCallDetails,
    SubmitToolOutputsAction,
    ThreadRun,
    ToolOutput,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.foundry_project import agents_client, until

TEXT = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
ASK = FunctionToolDefinition(function=FunctionDefinition(name="ask", description="Asks.", parameters=TEXT))


async def answered(tool: Mapping[str, Any], correlation_id: str, arguments: Mapping[str, Any]) -> str:
    return f"{arguments['query']} 42, says {tool['azure_function']['function']['name']}"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> FoundryStandIn:
    stand_in = FoundryStandIn()
    monkeypatch.setattr(stand_in.queues, "call", answered)
    return stand_in


@pytest.fixture
async def client(stand_in: FoundryStandIn) -> AsyncIterator[AgentsClient]:
    async with agents_client(stand_in) as client:
        yield client


async def specialist(client: AgentsClient) -> Agent:
    queues = [
        AzureFunctionStorageQueue(queue_name=f"azure-function-ask-{side}", storage_service_endpoint="http://q")
        for side in ("input", "output")
    ]
    tool = AzureFunctionTool("ask_data", "Asks.", TEXT, *queues)
    return await client.create_agent(model="gpt-5.1", name="specialist", tools=tool.definitions)


async def start(client: AgentsClient, agent: Agent, text: str = "How many?") -> ThreadRun:
    thread = await client.threads.create(metadata={"made-by": "us"})
    await client.messages.create(thread_id=thread.id, role="user", content=text)
    return await client.runs.create(thread_id=thread.id, agent_id=agent.id)


async def refreshed(client: AgentsClient, run: ThreadRun) -> ThreadRun:
    return await client.runs.get(run.thread_id, run.id)


async def last_text(client: AgentsClient, run: ThreadRun) -> str | None:
    found = await client.messages.get_last_message_text_by_role(run.thread_id, MessageRole.AGENT)
    return found.text.value if found else None


async def test_an_orchestrator_hands_the_question_to_a_connected_agent_which_asks_its_function(
    client: AgentsClient, stand_in: FoundryStandIn
) -> None:
    connected = ConnectedAgentTool(
        id=(await specialist(client)).id, name="connected_azure_function_agent", description="Knows."
    )
    orchestrator = await client.create_agent(model="gpt-5.1", name="orchestrator", tools=connected.definitions)
    run = await start(client, orchestrator)
    await until(lambda: not stand_in.running())
    assert (await refreshed(client, run)).status == "completed"
    assert await last_text(client, run) == "How many? 42, says ask_data"
    steps = [step async for step in client.run_steps.list(run.thread_id, run.id, order="asc")]
    called = [
        call.type
        for step in steps
        if isinstance(step.step_details, RunStepToolCallDetails)
        for call in step.step_details.tool_calls
    ]
    assert called == ["azure_function", "connected_agent"]


async def test_a_run_waits_for_the_outputs_of_functions(client: AgentsClient, stand_in: FoundryStandIn) -> None:
    agent = await client.create_agent(model="gpt-5.1", name="orchestrator", tools=[ASK])
    run = await start(client, agent, "1. How many?\n2. How much?")
    action = (await refreshed(client, run)).required_action
    assert isinstance(action, SubmitToolOutputsAction)
    calls = action.submit_tool_outputs.tool_calls
    asked = [json.loads(call["function"]["arguments"]) for call in calls]
    assert asked == [{"query": "How many?"}, {"query": "How much?"}]
    outputs = [ToolOutput(tool_call_id=call.id, output=str(at)) for at, call in enumerate(calls)]
    with pytest.raises(HttpResponseError, match="Expected tool outputs for call_ids"):
        await client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=outputs[:1])
    await client.runs.submit_tool_outputs(run.thread_id, run.id, tool_outputs=outputs)
    await until(lambda: not stand_in.running())
    assert await last_text(client, run) == "0\n\n1"


async def test_a_run_is_cancelled_and_everything_is_deleted(client: AgentsClient, stand_in: FoundryStandIn) -> None:
    agent = await client.create_agent(model="gpt-5.1", name="orchestrator", tools=[ASK])
    run = await start(client, agent)
    with pytest.raises(HttpResponseError, match="while a run run_"):
        await client.messages.create(thread_id=run.thread_id, role="user", content="And?")
    assert (await client.runs.cancel(run.thread_id, run.id)).status == "cancelled"
    assert [each.id async for each in client.threads.list()] == [run.thread_id]
    await client.threads.delete(run.thread_id)
    await client.delete_agent(agent.id)
    with pytest.raises(ResourceNotFoundError):
        await client.delete_agent(agent.id)
    assert stand_in.left() == []


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("incomplete", "incomplete"),
        ("failed", "failed"),
        ("expired", "expired"),
        ("approval", "requires_action"),
        ("no_tool", "completed"),
        ("empty", "completed"),
    ],
)
async def test_a_run_ends_as_it_is_asked_to(
    client: AgentsClient, stand_in: FoundryStandIn, end: str, status: str
) -> None:
    stand_in.runs.ends.append(end)
    run = await start(client, await client.create_agent(model="gpt-5.1", name="orchestrator", tools=[ASK]))
    assert (await refreshed(client, run)).status == status
    stand_in.clock.advance(601)
    await until(lambda: not stand_in.running())
    assert (await refreshed(client, run)).status == ("expired" if status == "requires_action" else status)
