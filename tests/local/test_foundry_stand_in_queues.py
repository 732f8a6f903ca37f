"""The stand-in Foundry project plays the service's part on the queues of an Azure Functions tool."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import shutil
from collections.abc import AsyncIterator

import pytest
from azure.ai.projects.aio import AIProjectClient
from azure.ai.projects.models import (
    AzureFunctionBinding,
    AzureFunctionDefinition,
    AzureFunctionDefinitionFunction,
    AzureFunctionStorageQueue,
    AzureFunctionTool,
    PromptAgentDefinition,
)
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from app.local.foundry_stand_in.function_queues import Encoding, Shape, read_answer, written_message
from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.azurite import Azurite
from tests.fakes.foundry_project import project_client, until

REFERENCE = {"agent_reference": {"type": "agent_reference", "name": "specialist"}}
on_queues = pytest.mark.skipif(not (shutil.which("npm") and shutil.which("node")), reason="there is no Node.js")


@pytest.mark.parametrize(
    ("shape", "encoding", "expected"),
    [
        ("nested", "plain", '{"function_args": {"query": "Wie viele?"}, "CorrelationId": "c1"}'),
        ("text", "plain", '{"function_args": "{\\"query\\": \\"Wie viele?\\"}", "CorrelationId": "c1"}'),
        ("flat", "plain", '{"query": "Wie viele?", "CorrelationId": "c1"}'),
        ("flat", "base64", base64.b64encode(b'{"query": "Wie viele?", "CorrelationId": "c1"}').decode()),
    ],
)
def test_a_question_is_written_in_each_form_that_has_been_seen(shape: Shape, encoding: Encoding, expected: str) -> None:
    assert written_message("c1", {"query": "Wie viele?"}, shape, encoding) == expected


def test_a_value_that_is_an_object_reaches_the_model_as_json() -> None:
    content = base64.b64encode(b'{"Value": {"rows": 42}, "CorrelationId": "c1"}').decode()
    assert read_answer(content) == ("c1", '{"rows": 42}')


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"CorrelationId": "c1", "Value": "plain"}',
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b'{"Value": "x"}').decode(),
        base64.b64encode(b"\xff").decode(),
    ],
)
def test_an_answer_that_the_service_cannot_read_is_none(content: str) -> None:
    assert read_answer(content) is None


@pytest.fixture
async def service(azurite: Azurite) -> AsyncIterator[QueueServiceClient]:
    async with QueueServiceClient.from_connection_string(azurite.connection_string) as service:
        yield service


async def function(queues: dict[str, QueueClient], answers: list[str]) -> None:
    """An Azure Function behind the queues: it answers with what it was asked, in capitals."""
    await queues["input"].create_queue()
    await queues["output"].create_queue()
    while True:
        async for message in queues["input"].receive_messages():
            asked = json.loads(message.content)
            answers.append(message.content)
            value = {"Value": asked["function_args"]["query"].upper(), "CorrelationId": asked["CorrelationId"]}
            await queues["output"].send_message(base64.b64encode(json.dumps(value).encode()).decode())
            await queues["input"].delete_message(message)
        await asyncio.sleep(0.02)


@pytest.mark.slow
@on_queues
async def test_an_agent_asks_a_function_through_its_queues_and_repeats_the_answer(
    azurite: Azurite, service: QueueServiceClient
) -> None:
    names = {side: f"azure-function-{secrets.token_hex(4)}-{side}" for side in ("input", "output")}
    queues = {side: service.get_queue_client(name) for side, name in names.items()}
    stand_in = FoundryStandIn(azurite.connection_string)
    stand_in.queues.forms = (("nested", "plain"),)
    asked: list[str] = []
    running = asyncio.create_task(function(queues, asked))
    async with project_client(stand_in) as project, project.get_openai_client(max_retries=0) as openai:
        await created(project, stand_in.queues.endpoint, names)
        response = await openai.responses.create(input="how many?", extra_body=REFERENCE)
    running.cancel()
    assert (response.status, response.output_text) == ("completed", "HOW MANY?")
    assert [item.type for item in response.output] == ["azure_function_call", "azure_function_call_output", "message"]
    assert list(stand_in.queues.asked.values()) == asked
    assert stand_in.queues.values == {next(iter(stand_in.queues.asked)): ["HOW MANY?"]}


@pytest.mark.slow
@on_queues
async def test_a_run_expires_after_ten_minutes_where_no_answer_comes(
    azurite: Azurite, service: QueueServiceClient
) -> None:
    names = {side: f"azure-function-{secrets.token_hex(4)}-{side}" for side in ("input", "output")}
    await service.create_queue(names["input"])
    stand_in = FoundryStandIn(azurite.connection_string)
    async with project_client(stand_in) as project, project.get_openai_client(max_retries=0) as openai:
        await created(project, stand_in.queues.endpoint, names)
        response = await openai.responses.create(input="how many?", background=True, extra_body=REFERENCE)
        await until(lambda: bool(stand_in.queues.asked))
        stand_in.clock.advance(599)
        assert (await openai.responses.retrieve(response.id)).status == "in_progress"
        stand_in.clock.advance(2)
        await until(lambda: not stand_in.running())
        response = await openai.responses.retrieve(response.id)
    assert response.error
    assert (response.status, response.error.message) == ("failed", "The run has expired: it lasts ten minutes at most.")


async def created(project: AIProjectClient, endpoint: str, names: dict[str, str]) -> None:
    bindings = {
        f"{side}_binding": AzureFunctionBinding(
            storage_queue=AzureFunctionStorageQueue(queue_service_endpoint=endpoint, queue_name=name)
        )
        for side, name in names.items()
    }
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    definition = AzureFunctionDefinitionFunction(name="ask", description="Asks.", parameters=parameters)
    tool = AzureFunctionTool(azure_function=AzureFunctionDefinition(function=definition, **bindings))
    await project.agents.create_version(
        "specialist", definition=PromptAgentDefinition(model="gpt-5.1", tools=[tool]), enforce_https=False
    )
