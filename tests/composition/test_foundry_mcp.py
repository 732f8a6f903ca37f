from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from app.composition.foundry_mcp import OpenFoundryMcp
from app.composition.functions_host import FunctionsHost
from app.config import Settings, SettingsError, load_settings
from app.storage.factory import open_storage
from tests.composition.test_foundry import opened
from tests.composition.test_functions_host import WORKSPACE, triggers_with
from tests.fakes.bot_framework_login import BotFrameworkLogin
from tests.fakes.serving_endpoint import HttpReply, ServingEndpoint, Stream, chat_stream
from tests.foundry.mcp.served_mcp import MemoryRequests, ready
from tests.foundry.mcp.test_entra_callers import CLIENT, PROJECT, STRANGER, TENANT, claims

LISTING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
GIVEN = {
    "DATABRICKS_BASE_URL": "https://w.example/serving-endpoints",
    "DATABRICKS_MODEL_NAME": "m",
    "MicrosoftAppId": CLIENT,
    "MicrosoftAppTenantId": TENANT,
    "FOUNDRY_MCP_AUDIENCE": f"api://{CLIENT}",
    "FOUNDRY_MCP_CALLERS": f" {PROJECT.upper()} , {CLIENT}",
}


def settings(**changes: str) -> Settings:
    return load_settings(GIVEN | changes)


async def test_foundrys_identity_calls_with_a_token_and_a_stranger_does_not(caplog: pytest.LogCaptureFixture) -> None:
    tool, now = ready(), time.time()
    async with BotFrameworkLogin() as login:
        given = settings(MicrosoftAppTenantId=TENANT.upper())
        mcp = OpenFoundryMcp(given, [tool], MemoryRequests(tool), login_metadata_url=login.metadata_url)
        own = {"exp": now + 3600, "nbf": now - 60, "appid": STRANGER}
        allowed = {"authorization": f"Bearer {login.token(claims(**own))}"}
        stranger = {"Authorization": f"Bearer {login.token(claims(**own, oid=STRANGER))}"}
        answers = [await mcp.receive_with_token("POST", each, LISTING) for each in (allowed, stranger, {})]
        with_key = await mcp.receive("POST", {}, LISTING)
        login.broken = True
        unknown = {"Authorization": f"Bearer {login.token(claims(**own), key=login.new_key())}"}
        refused = await mcp.receive_with_token("POST", unknown, LISTING)
        await mcp.close()
    assert [answer.status for answer in (*answers, with_key, refused)] == [200, 401, 401, 200, 401]
    assert [tool["name"] for tool in json.loads(answers[0].body)["result"]["tools"]] == ["weather", "get_result"]
    assert answers[1].headers == {"WWW-Authenticate": "Bearer"}
    logged = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert "A call was refused: 401, MCP: the caller is not in FOUNDRY_MCP_CALLERS" in logged
    assert STRANGER not in caplog.text


async def test_where_the_keys_cannot_be_fetched_the_caller_may_call_again() -> None:
    now = time.time()
    async with BotFrameworkLogin() as login:
        login.broken = True
        mcp = OpenFoundryMcp(settings(), [], MemoryRequests(), login_metadata_url=login.metadata_url)
        headers = {"Authorization": f"Bearer {login.token(claims(exp=now + 3600, nbf=now - 60))}"}
        answer = await mcp.receive_with_token("POST", headers, LISTING)
        await mcp.close()
    assert answer.status == 503


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"FOUNDRY_MCP_CALLERS": ""}, "FOUNDRY_MCP_CALLERS"),
        ({"FOUNDRY_MCP_CALLERS": "my-project"}, "FOUNDRY_MCP_CALLERS"),
        ({"FOUNDRY_MCP_AUDIENCE": ""}, "FOUNDRY_MCP_AUDIENCE"),
        ({"FOUNDRY_MCP_AUDIENCE": "api://a, api://b"}, "FOUNDRY_MCP_AUDIENCE"),
        (
            {"MicrosoftAppTenantId": "", "MicrosoftAppType": "MultiTenant", "MicrosoftAppPassword": "x"},
            "MicrosoftAppTenantId",
        ),
    ],
)
def test_half_a_setting_of_who_may_call_is_refused(changes: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings(**changes)
    assert [problem.partition(":")[0] for problem in error.value.problems] == [named]


def test_callers_are_compared_without_regard_to_case() -> None:
    assert settings().foundry_mcp.callers == {PROJECT, CLIENT}


async def call(host: FunctionsHost, name: str, **arguments: str) -> str:
    text, _ = await result_of_call(host, name, **arguments)
    return text


async def result_of_call(host: FunctionsHost, name: str, **arguments: str) -> tuple[str, bool]:
    """What the tool says, and whether it says that it is an error."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    body["params"] = {"name": name, "arguments": arguments}
    answer = await host.receive_mcp("POST", {}, json.dumps(body).encode())
    result = json.loads(answer.body)["result"]
    return result["content"][0]["text"], result.get("isError", False)


async def test_a_call_whose_worker_ends_is_finished_by_another_and_its_handle_is_known_to_every_worker(
    tmp_path: Path,
) -> None:
    async with ServingEndpoint() as endpoint:
        endpoint.replies += [Stream(["hang"]), chat_stream("It is 7.")]
        first, second = opened(endpoint, tmp_path), opened(endpoint, tmp_path)
        calling = asyncio.create_task(call(first, "ask", query="Sales?"))
        await endpoint.began.wait()
        await first.close()
        told = await calling
        assert "being worked on" in told
        handle = told.partition("the handle ")[2].split()[0]
        getting = asyncio.create_task(call(second, "get_result", handle=handle))
        queue = open_storage(tmp_path / "conversations.sqlite").open_queue("foundry-requests")
        (envelope,) = await queue.receive(5, visibility_timeout=60)
        await second.process_foundry_message(envelope.body.encode())
        assert await getting == "It is 7."
        assert await call(second, "get_result", handle=handle) == "It is 7."
        assert (await first.receive_mcp("POST", {}, LISTING)).status == 503
        await second.close()
    outputs = open_storage(tmp_path / "conversations.sqlite").open_queue("azure-function-sales-output")
    assert await outputs.receive(5, visibility_timeout=60) == [], "the value is on a queue where nobody waits for it"


async def test_a_refused_and_a_failed_call_are_errors_and_say_why(tmp_path: Path) -> None:
    async with ServingEndpoint() as endpoint:
        endpoint.replies += [chat_stream("It is 7."), *[HttpReply(400, {"message": "a secret"})] * 3]
        host = opened(endpoint, tmp_path)
        assert await result_of_call(host, "ask", query="Profit?") == ("It is 7.", False)
        refused = await result_of_call(host, "ask", question="Sales?")
        failed = await result_of_call(host, "ask", query="Sales?")
        await host.close()
    assert (refused[0].startswith("There is no question"), refused[1]) == (True, True)
    assert ("error id" in failed[0], failed[1]) == (True, True)
    assert "secret" not in failed[0]


@pytest.mark.parametrize(
    ("given", "levels"),
    [
        (
            {**GIVEN, "MicrosoftAppType": "SingleTenant", "MicrosoftAppPassword": "p"},
            {"api/mcp": "FUNCTION", "api/mcp/entra": "ANONYMOUS"},
        ),
        ({"FOUNDRY_TOOLS": "none"}, {}),
    ],
)
def test_the_key_is_asked_for_by_the_host_and_tokens_are_taken_where_the_settings_say_so(
    given: dict[str, str], levels: dict[str, str]
) -> None:
    _, triggers = triggers_with(**WORKSPACE | given)
    found = {str(each["route"]): str(each["authLevel"]) for name, each in triggers.items() if name.startswith("mcp")}
    assert {route: level.rpartition(".")[2] for route, level in found.items()} == levels
