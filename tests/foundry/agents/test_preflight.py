"""What a project lacks is said before anything is made, in words that an administrator can act on."""

from __future__ import annotations

import json

import pytest

from app.foundry.agents.foundry_errors import NotFoundError, RefusedError, UnavailableError, refusal
from app.foundry.agents.preflight import (
    AZURE_FUNCTIONS,
    CLASSIC_AZURE_FUNCTIONS,
    FUNCTIONS,
    ToolModels,
    check_setup,
    model_warning,
)
from tests.foundry.agents.conftest import ProgramHarness

LACKING = (
    "The principal `0f1e` lacks the required data action "
    "`Microsoft.CognitiveServices/accounts/AIServices/agents/write` "
    "to perform `POST /api/projects/{projectName}/agents/*` operation. For instructions on granting the necessary "
    "permissions, see https://aka.ms/FoundryPermissions."
)
NO_PARENT = (
    "Failed to perform 'read' on resource(s) of type 'accounts/projects/connections', because the parent resource "
    "'/subscriptions/0/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/a/projects/p' could not be "
    "found."
)
OTHER_TENANT = "Tenant provided in token does not match resource token"
ONLY_STANDARD = "Invalid tool value(s): azure_function. Use the Enterprise Standard offering to access these tool(s)."


async def preflight(harness: ProgramHarness, **given: str) -> list[str]:
    await harness.orchestrator(**given).check()
    return [line for line in harness.lines if not line.startswith("warning: 127.0.0.1 gave no answer")]


async def test_a_project_that_can_have_the_agents_passes_and_nothing_is_made(harness: ProgramHarness) -> None:
    assert await preflight(harness) == [
        "deployment gpt-5.1: gpt-5.1 2025-11-13",
        "set-up: standard",
        "agents: 0 in the project",
    ]
    assert {call.partition(" ")[0] for call in harness.stand_in.faults.calls} == {"GET"}


async def test_the_basic_set_up_is_refused_for_the_queues_alone(harness: ProgramHarness) -> None:
    harness.stand_in.agents.standard_setup = False
    with pytest.raises(RefusedError, match=r"need the standard set-up.*no connection to any of them"):
        await preflight(harness)
    await preflight(harness, FOUNDRY_MCP_URL="https://app.example/api/mcp")


def test_where_a_part_of_the_standard_set_up_is_missing_it_is_warned_of() -> None:
    said: list[str] = []
    check_setup({"a": "AzureBlob", "b": "CosmosDb"}, said.append)
    assert said[0].startswith("warning: the project has no connection to Azure AI Search.")


@pytest.mark.parametrize("connection", ["our-app", "/subscriptions/s/projects/p/connections/our-app"])
async def test_the_connection_with_the_key_of_mcp_has_to_be_there(harness: ProgramHarness, connection: str) -> None:
    over_mcp = {"FOUNDRY_MCP_URL": "https://app.example/api/mcp", "FOUNDRY_MCP_CONNECTION": connection}
    with pytest.raises(RefusedError, match="make it, or check FOUNDRY_MCP_CONNECTION"):
        await preflight(harness, **over_mcp)
    harness.stand_in.agents.keys["our-app"] = {"x-functions-key": "k"}
    await preflight(harness, **over_mcp)


async def test_a_deployment_that_is_not_there_is_said(harness: ProgramHarness) -> None:
    with pytest.raises(RefusedError, match="no deployment gpt-9: check MODEL_DEPLOYMENT_NAME"):
        await preflight(harness, MODEL_DEPLOYMENT_NAME="gpt-9")


async def test_a_model_that_is_not_listed_for_the_tools_is_warned_of(harness: ProgramHarness) -> None:
    assert (
        "warning: Microsoft does not list gpt-4.1 for Azure Functions tools, only gpt-5.1, gpt-5.2: a question may "
        in ((await preflight(harness, MODEL_DEPLOYMENT_NAME="gpt-4.1"))[1])
    )


@pytest.mark.parametrize(
    ("model", "tools", "is_listed"),
    [
        ("gpt-5.1", AZURE_FUNCTIONS, True),
        ("GPT-5.2", AZURE_FUNCTIONS, True),
        ("gpt-4.1", AZURE_FUNCTIONS, False),
        ("gpt-5.4", AZURE_FUNCTIONS, False),
        ("gpt-4.1", FUNCTIONS, True),
        ("gpt-5.4", FUNCTIONS, False),
        ("gpt-4.1", CLASSIC_AZURE_FUNCTIONS, True),
        ("gpt-5.1", CLASSIC_AZURE_FUNCTIONS, False),
        ("", AZURE_FUNCTIONS, True),
    ],
)
def test_the_lists_are_those_of_the_tools_in_use(model: str, tools: ToolModels, is_listed: bool) -> None:
    assert (model_warning(model, tools) is None) is is_listed


async def test_connections_are_read_from_every_page(harness: ProgramHarness) -> None:
    """A page may name the next one by any address, which is not gone to with our token."""
    pages = (
        {"value": [{"name": "a", "type": "AzureBlob"}, 7], "nextLink": "https://elsewhere.example/x?skip=a%26b&n=1"},
        {
            "value": [{"name": "b", "type": "CosmosDb"}],
            "nextLink": f"{harness.address}/connections?api-version=v0&skip=2",
        },
        {"value": None},
    )
    for page in pages:
        harness.stand_in.faults.add("GET /connections", 200, body=json.dumps(page))
    assert await harness.project.resources.connections() == {"a": "AzureBlob", "b": "CosmosDb"}
    assert harness.stand_in.faults.calls.count("GET /connections") == 3
    same = json.dumps({"value": [], "nextLink": f"{harness.address}/connections"})
    harness.stand_in.faults.add("GET /connections", 200, body=same, times=50)
    assert await harness.project.resources.connections() == {}


async def test_a_missing_data_action_is_said_in_words(harness: ProgramHarness) -> None:
    harness.stand_in.denied.add("read")
    with pytest.raises(RefusedError) as raised:
        await preflight(harness)
    assert "lacks the data action Microsoft.CognitiveServices/accounts/AIServices/agents/read." in str(raised.value)
    assert "the role Foundry User (Azure AI User) on the project" in str(raised.value)


async def test_a_project_that_is_away_is_no_refusal(harness: ProgramHarness) -> None:
    harness.stand_in.faults.add("GET /deployments/{name}", 503, times=10)
    with pytest.raises(UnavailableError):
        await preflight(harness)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"error": {"code": "PermissionDenied", "message": LACKING}}, "the identity 0f1e lacks the data action"),
        (401, {"code": "PermissionDenied", "message": LACKING}, "Give it the role Foundry User"),
        (400, {"error": {"message": ONLY_STANDARD}}, "need the standard set-up"),
        (404, {"error": {"code": "DeploymentNotFound", "message": "x"}}, "check MODEL_DEPLOYMENT_NAME"),
        (404, {"error": {"code": "NotFound", "message": "Project not found"}}, "check PROJECT_ENDPOINT_ENT"),
        (404, {"error": {"code": "ParentResourceNotFound", "message": NO_PARENT}}, "check PROJECT_ENDPOINT_ENT"),
        (401, {"error": {"code": "401", "message": "Access denied"}}, "run az login"),
        (
            400,
            {"error": {"code": OTHER_TENANT, "message": "Token tenant 33 does not match resource tenant."}},
            "--tenant",
        ),
        (401, {"statusCode": 401, "message": "audience is incorrect"}, "run az login"),
        (403, {"error": {"code": "cosmos_vnet_blocked", "message": "VNET"}}, "Cosmos DB's network rules. VNET"),
        (403, None, "network rules"),
        (400, {"error": {"code": "invalid_payload", "message": "No\n such\tthing"}}, "invalid_payload: No such thing"),
        (400, {"error": {"code": None, "message": "m" * 5000}}, "m" * 300 + "…"),
        (418, "a page", "(HTTP 418)."),
        (400, {"error": ["odd"]}, "(HTTP 400)."),
    ],
)
def test_a_refusal_becomes_a_sentence(status: int, body: object, said: str) -> None:
    error = refusal(status, body, "create the agent x")
    assert said in str(error)
    assert error.status == status
    assert isinstance(error, NotFoundError) is (status == 404 and "PROJECT" not in said)
