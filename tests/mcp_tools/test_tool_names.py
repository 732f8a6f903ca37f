"""Each tool of each server has one name, which endpoints accept; and only exact hosts are sent a Databricks token."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.config import CoreSettings, SettingsError, load_sections
from app.databricks.credentials import PersonalAccessToken
from app.databricks.workspace_client import WorkspaceClient
from app.databricks.workspace_url import WorkspaceUrl
from app.mcp_tools.authorization import WorkspaceToken, authorization_for
from app.mcp_tools.tool_names import model_name

SERVERS = st.from_regex(r"[A-Za-z][A-Za-z0-9-]*(_[A-Za-z0-9-]+)*", fullmatch=True).map(
    lambda name: name[:32].rstrip("_")
)
TOOLS = st.text(st.sampled_from("ab_-. é/"), min_size=1, max_size=80)


@given(SERVERS, TOOLS, SERVERS, TOOLS)
def test_names_are_short_accepted_stable_and_of_one_tool(server: str, tool: str, server2: str, tool2: str) -> None:
    name = model_name(server, tool)
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", name)
    assert model_name(server, tool) == name
    assert ((server, tool) == (server2, tool2)) == (name == model_name(server2, tool2))


@pytest.mark.parametrize(
    ("server", "tool", "name"),
    [
        ("uc", "main__sales__revenue", "uc__main__sales__revenue"),
        ("a", "_b", "a___b"),
        ("s", "get.rows", "s__get_rows_" + model_name("s", "get.rows")[-8:]),
    ],
)
def test_names_are_readable_where_they_can_be(server: str, tool: str, name: str) -> None:
    assert model_name(server, tool) == name


@pytest.mark.parametrize(
    ("url", "is_sent_the_token"),
    [
        ("https://adb-1.2.azuredatabricks.net/api/2.0/mcp/sql", True),
        ("https://ADB-1.2.azuredatabricks.net:443/api/2.0/mcp/functions/a/b", True),
        ("https://my-app-1.2.azure.databricksapps.com/mcp", True),
        ("https://adb-1.2.azuredatabricks.net:8443/mcp", False),
        ("https://adb-2.2.azuredatabricks.net/mcp", False),
        ("https://adb-1.2.azuredatabricks.net.evil.example/mcp", False),
        ("https://evil.example/adb-1.2.azuredatabricks.net", False),
        ("https://databricksapps.com/mcp", False),
        ("https://evildatabricksapps.com/mcp", False),
        ("https://a.databricksapps.com.evil.example/mcp", False),
        ("https://a.databricksapps.com:8443/mcp", False),
        ("http://localhost:8000/mcp", False),
    ],
)
async def test_only_exact_hosts_are_sent_a_databricks_token(url: str, is_sent_the_token: bool) -> None:
    credential = PersonalAccessToken(SecretStr("t"))
    workspace = WorkspaceClient(WorkspaceUrl.parse("https://adb-1.2.azuredatabricks.net"), credential)
    assert isinstance(authorization_for(url, workspace, None), WorkspaceToken) is is_sent_the_token
    assert not isinstance(authorization_for(url, workspace, SecretStr("own")), WorkspaceToken)
    await workspace.close()


@pytest.mark.parametrize(
    ("servers", "secrets", "problem"),
    [
        ("[]", "", ""),
        ('[{"name": "a", "url": "https://a.example/mcp", "read_only": ["x"], "meta": {"k": 1}}]', '{"a": "s"}', ""),
        ("nonsense", "", "MCP_SERVERS"),
        ('[{"name": "a", "url": "http://a.example"}]', "", "MCP_SERVERS"),
        ('[{"name": "a", "url": "https://u:p@a.example"}]', "", "MCP_SERVERS"),
        ('[{"name": "a__b", "url": "https://a.example"}]', "", "MCP_SERVERS"),
        ('[{"name": "a", "url": "https://a.example"}, {"name": "a", "url": "https://b.example"}]', "", "MCP_SERVERS"),
        ('[{"name": "a", "url": "https://a.example", "readonly": []}]', "", "MCP_SERVERS"),
        ("[]", '{"b": "s"}', "MCP_SECRETS"),
        ("[]", "nonsense", "MCP_SECRETS"),
    ],
)
def test_what_is_wrong_in_the_settings_is_said_without_quoting_it(servers: str, secrets: str, problem: str) -> None:
    given_settings = {
        "DATABRICKS_BASE_URL": "https://w.example",
        "DATABRICKS_MODEL_NAME": "m",
        "MCP_SERVERS": servers,
        "MCP_SECRETS": secrets,
    }
    if not problem:
        assert load_sections(CoreSettings, given_settings).mcp is not None
        return
    with pytest.raises(SettingsError) as refused:
        load_sections(CoreSettings, given_settings)
    assert problem in str(refused.value)
    assert "a.example" not in str(refused.value)
