"""The stand-in Foundry project refuses what the service refuses, with its words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from app.local.foundry_stand_in.server import FoundryStandIn
from tests.fakes.foundry_project import served

V1 = "?api-version=v1"
TEXT = {"type": "object", "properties": {"query": {"type": "string"}}}
QUEUE = {"type": "storage_queue", "storage_queue": {"queue_service_endpoint": "http://q", "queue_name": "azure-x"}}
FUNCTION = {"type": "function", "name": "ask", "parameters": TEXT, "strict": False}
REFERENCE = {"type": "agent_reference", "name": "agent"}


def queue_tool(parameters: object = None) -> dict[str, Any]:
    function = {"name": "ask", "description": "Asks.", "parameters": parameters or TEXT}
    bindings = {"input_binding": QUEUE, "output_binding": QUEUE}
    return {"type": "azure_function", "azure_function": {"function": function, **bindings}}


def version(*tools: object, model: str = "gpt-5.1") -> dict[str, Any]:
    return {"definition": {"kind": "prompt", "model": model, "tools": list(tools)}}


@pytest.fixture
def stand_in() -> FoundryStandIn:
    return FoundryStandIn()


@pytest.fixture
async def client(stand_in: FoundryStandIn) -> AsyncIterator[ClientSession]:
    async with served(stand_in) as address, ClientSession(address + "/") as client:
        client.headers["Authorization"] = "Bearer a token"
        yield client


async def refused(client: ClientSession, path: str, body: object) -> tuple[int, str | None, str]:
    async with client.post(path, json=body) as answer:
        error = (await answer.json()).get("error", {})
        return answer.status, error.get("code"), error.get("message", "")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (version({"type": "bing"}), "Invalid tool value(s): bing."),
        (version({"type": "azure_function"}), 'Required properties ["azure_function/function"] are not present.'),
        (
            version(queue_tool({"type": "object", "properties": {"q": {"anyOf": [{"type": "string"}]}}})),
            "Invalid tool schema for: ask. 'anyOf' is not supported.",
        ),
        (
            version(FUNCTION | {"parameters": {"type": "object", "properties": {"q": {"$ref": "#/$defs/Q"}}}}),
            "Invalid tool schema for: ask. '$ref' is not supported.",
        ),
        (version(FUNCTION | {"parameters": {}}), "Invalid tool schema for: ask. An object with properties is needed."),
        ({"definition": {"kind": "prompt"}}, "definition: a prompt agent with a model is needed."),
        (version() | {"metadata": {"k": "v" * 513}}, "metadata: keys of 64 characters, values of 512 characters."),
        (version() | {"metadata": {f"k{each}": "v" for each in range(17)}}, "metadata: at most 16 keys."),
    ],
)
async def test_a_version_that_the_service_would_not_make(client: ClientSession, body: object, message: str) -> None:
    assert await refused(client, f"agents/agent/versions{V1}", body) == (400, "invalid_payload", message)


async def test_a_queue_tool_needs_the_standard_set_up(client: ClientSession, stand_in: FoundryStandIn) -> None:
    stand_in.agents.standard_setup = False
    assert await refused(client, f"agents/agent/versions{V1}", version(queue_tool())) == (
        400,
        None,
        "Invalid tool value(s): azure_function. Use the Enterprise Standard offering to access these tool(s).",
    )


@pytest.mark.parametrize("name", ["-a", "a" * 64, "a_b", "ä"])
async def test_an_agent_of_such_a_name_is_not_made(client: ClientSession, name: str) -> None:
    status, _, message = await refused(client, f"agents/{name}/versions{V1}", version())
    assert (status, message) == (400, f"Invalid agent name '{name}'.")


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (
            {"agent": REFERENCE},
            400,
            "invalid_payload",
            "The 'agent' property is deprecated. Use 'agent_reference' instead.",
        ),
        (
            {"agent_reference": REFERENCE | {"version": "7"}},
            404,
            "not_found",
            "Agent 'agent' with version '7' not found.",
        ),
        ({"agent_reference": REFERENCE | {"name": "x"}}, 404, "not_found", "Agent 'x' not found."),
        (
            {"agent_reference": REFERENCE, "tools": [FUNCTION]},
            400,
            "invalid_payload",
            "Not allowed when agent is specified.",
        ),
        ({"agent_reference": REFERENCE, "conversation": "x"}, 404, "not_found", "Conversation 'x' not found."),
        (
            {"agent_reference": REFERENCE, "input": [{"role": "user", "content": "x"}]},
            400,
            "invalid_payload",
            'required: Required properties ["type"] are not present',
        ),
        (
            {
                "agent_reference": REFERENCE,
                "input": [{"type": "function_call_output", "call_id": "call_x", "output": "x"}],
            },
            400,
            None,
            "No tool call found for function call output with call_id call_x.",
        ),
        (
            {"model": "gpt-5.4", "tools": [queue_tool()]},
            400,
            "invalid_payload",
            "Tool 'azure_function' is not supported with model 'gpt-5.4'.",
        ),
        ({"model": "x"}, 404, "DeploymentNotFound", "The API deployment for this resource does not exist. If you"),
    ],
)
async def test_a_response_that_the_service_would_not_make(
    client: ClientSession, body: dict[str, Any], status: int, code: str | None, message: str
) -> None:
    await client.post(f"agents/agent/versions{V1}", json=version())
    refusal = await refused(client, "openai/v1/responses", {"input": "How many?", **body})
    assert refusal[:2] == (status, code)
    assert refusal[2].startswith(message)


async def test_a_call_without_its_output_is_asked_for(client: ClientSession) -> None:
    await client.post(f"agents/agent/versions{V1}", json=version(FUNCTION))
    async with client.post("openai/v1/responses", json={"input": "x", "agent_reference": REFERENCE}) as answer:
        response = await answer.json()
    again = {"input": "y", "agent_reference": REFERENCE, "previous_response_id": response["id"]}
    status, _, message = await refused(client, "openai/v1/responses", again)
    assert (status, message) == (400, f"No tool output found for function call {response['output'][0]['call_id']}.")


async def test_a_conversation_answers_one_request_at_a_time(client: ClientSession, stand_in: FoundryStandIn) -> None:
    await client.post(f"agents/agent/versions{V1}", json=version())
    async with client.post("openai/v1/conversations", json={}) as answer:
        conversation = (await answer.json())["id"]
    stand_in.runs.ends.append("stuck")
    body = {"input": "x", "agent_reference": REFERENCE, "conversation": conversation}
    await client.post("openai/v1/responses", json=body | {"background": True})
    assert (await refused(client, "openai/v1/responses", body))[:2] == (400, "conversation_locked")


@pytest.mark.parametrize("path", ["agents/agent/versions", "agents/agent/versions?api-version=2024-05-01-preview"])
async def test_an_unknown_api_version_is_refused(client: ClientSession, path: str) -> None:
    assert await refused(client, path, version()) == (400, "BadRequest", "API version not supported")


async def test_a_call_without_a_bearer_token_is_refused(client: ClientSession) -> None:
    client.headers["Authorization"] = "Bearer "
    assert (await refused(client, f"agents/agent/versions{V1}", version()))[0] == 401
