"""Answers of the service that others have reported: what a person is told of them, and what the exit code says."""

from __future__ import annotations

import json

import pytest

from tests.foundry.agents.conftest import ProgramHarness
from tests.foundry.agents.test_command import run

ANSWER, READ = "POST /openai/v1/responses", "GET /openai/v1/responses/{id}"


def error(code: str | None, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message, "param": "input", "type": "invalid_request_error"}}


def failed(code: str, message: str) -> dict[str, object]:
    return {"id": "resp_1", "status": "failed", "output": [], "error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("call", "skipped", "status", "body", "code", "said"),
    [
        # https://github.com/microsoft/agent-framework/issues/1210
        (
            ANSWER,
            0,
            424,
            error("http_error", "Error retrieving tool list from MCP server: 'x'"),
            1,
            "tool list from MCP",
        ),
        # https://github.com/Azure/azure-sdk-for-python/issues/46092: the specialist has answered by then.
        (ANSWER, 2, 400, error(None, "No tool output found for function call c."), 2, "No tool output found"),
        # https://github.com/Azure/azure-sdk-for-python/issues/45460
        (ANSWER, 0, 400, error("bad_request", "ID cannot be null or empty (Parameter 'id')"), 1, "ID cannot be null"),
        # https://github.com/Azure/azure-sdk-for-python/issues/44412
        (ANSWER, 0, 401, {"statusCode": 401, "message": "audience is incorrect"}, 1, "run az login"),
        # https://github.com/microsoft-foundry/foundry-samples/issues/692
        (
            ANSWER,
            0,
            401,
            error(
                "PermissionDenied", "The principal `238d` lacks the required data action `X/agents/write` to perform"
            ),
            1,
            "the identity 238d lacks the data action X/agents/write. Give it the role",
        ),
        # https://github.com/microsoft/agent-framework/issues/3003
        (
            ANSWER,
            0,
            400,
            {
                "error": {
                    "code": "invalid_payload",
                    "message": "Invalid payload",
                    "details": [{"message": 'type: Value is "array" but should be "string"', "param": "/input"}, 7],
                }
            },
            1,
            '(HTTP 400, invalid_payload: Invalid payload; /input type: Value is "array" but should be "string").',
        ),
        # https://github.com/Azure/azure-sdk-for-python/issues/46868
        (READ, 0, 200, failed("storage_error", "An internal error occurred"), 2, "storage_error: An internal error"),
        # https://github.com/Azure/azure-sdk-for-python/issues/43521
        (ANSWER, 0, 200, None, 2, "gave no answer that can be read"),
        ("POST /openai/v1/conversations", 0, 200, None, 2, "gave no answer that can be read"),
        # https://github.com/microsoft-foundry/foundry-samples/issues/397
        (
            "GET /agents/{name}",
            0,
            403,
            error("Forbidden", "Request blocked by Auth acdb-x : [POST /dbs/enterprise_memory/colls], Azure.Cosmos"),
            1,
            "the project has no access to its Cosmos DB",
        ),
    ],
)
async def test_it_is_said_what_foundry_said_and_nothing_is_left(
    harness: ProgramHarness,
    capsys: pytest.CaptureFixture[str],
    call: str,
    skipped: int,
    status: int,
    body: dict[str, object] | None,
    code: int,
    said: str,
) -> None:
    await harness.orchestrator().create()
    text = "" if body is None else json.dumps(body)
    harness.stand_in.faults.add(call, status, body=text, skipped=skipped)
    assert await run(harness, "ask", "How many?") == code
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert (harness.stand_in.conversations.all, harness.stand_in.responses.all) == ({}, {})


async def test_a_version_whose_answer_is_empty_is_found(harness: ProgramHarness) -> None:
    """https://github.com/Azure/azure-sdk-for-python/issues/43521"""
    harness.stand_in.faults.add("POST /agents/{name}/versions", 200, body="", after=True)
    await harness.orchestrator().create()
    assert [each["version"] for versions in harness.stand_in.agents.versions.values() for each in versions] == [
        "1",
        "1",
    ]


async def test_what_the_service_does_not_show_again_makes_no_new_version(harness: ProgramHarness) -> None:
    """https://github.com/microsoft/agent-framework/issues/3229"""
    await harness.orchestrator().create()
    for versions in harness.stand_in.agents.versions.values():
        for tool in versions[-1]["definition"]["tools"]:
            tool.pop("strict", None)
    await harness.orchestrator().create()
    assert {len(versions) for versions in harness.stand_in.agents.versions.values()} == {1}


@pytest.mark.parametrize("allowed", [["a"], {"tool_names": ["a"]}])
async def test_tools_of_other_agents_may_be_allowed_in_any_form(harness: ProgramHarness, allowed: object) -> None:
    """https://github.com/Azure/azure-sdk-for-net/issues/56216"""
    tool = {"type": "mcp", "server_label": "x", "server_url": "https://x.example", "allowed_tools": allowed}
    definition = {"kind": "prompt", "model": "gpt-5.1", "tools": [tool]}
    await harness.project.create_version("theirs", definition, "", {})
    (found,) = await harness.project.agents()
    assert found.definition == definition
