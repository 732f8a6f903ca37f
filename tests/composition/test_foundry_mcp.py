from __future__ import annotations

import json
import logging
import time

import pytest

from app.composition.foundry_mcp import OpenFoundryMcp
from app.config import Settings, SettingsError, load_settings
from tests.fakes.bot_framework_login import BotFrameworkLogin
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
        mcp = OpenFoundryMcp(settings(), [tool], MemoryRequests(tool), login_metadata_url=login.metadata_url)
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
