"""What Foundry gets to know of every tool, as it accepts it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.composition.core import Core
from app.composition.foundry_mcp import OpenFoundryMcp
from app.composition.foundry_tools import OpenFoundryTools
from app.config import load_settings
from tests.foundry.mcp.served_mcp import MemoryRequests, ready

WORKSPACE = {
    "DATABRICKS_BASE_URL": "https://w.example/serving-endpoints",
    "DATABRICKS_MODEL_NAME": "m",
    "DATABRICKS_TOKEN": "t",
}
SPACES = ",".join(f"{each}" * 32 for each in range(2))
# https://github.com/microsoft-foundry/new-foundry-portal/issues/23
REFUSED = {"anyOf", "allOf", "oneOf", "not", "$ref", "$defs", "definitions"}


def schemas_in(schema: object) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for name, each in schema.items():
            inner = each.values() if name == "properties" else each if isinstance(each, list) else [each]
            for one in inner:
                yield from schemas_in(one)


def refused_parts(schema: object) -> list[str]:
    found = [name for each in schemas_in(schema) for name in REFUSED & each.keys()]
    return found + [f"type {each['type']}" for each in schemas_in(schema) if not isinstance(each.get("type", ""), str)]


@pytest.mark.parametrize("spaces", ["", SPACES])
async def test_no_tool_has_a_schema_that_foundry_refuses(tmp_path: Path, spaces: str) -> None:
    settings = load_settings({**WORKSPACE, "DATA_DIR": str(tmp_path), "GENIE_SPACES": spaces})
    core = Core(settings)
    opened = OpenFoundryTools(core, settings)
    mcp = OpenFoundryMcp(settings, opened.tools, MemoryRequests(ready()))
    answer = await mcp.receive("POST", {}, b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}')
    await mcp.close()
    await opened.close()
    await core.close()
    tools = {tool["name"]: tool for tool in json.loads(answer.body)["result"]["tools"]}
    assert list(tools) == ["ask", "ask_data", "diagnose_job", "get_result"]
    for tool in tools.values():
        assert refused_parts(tool["inputSchema"]) == []
        assert tool["inputSchema"]["type"] == "object"
        assert tool["annotations"]["readOnlyHint"] is True
        assert tool["description"]
        assert "outputSchema" not in tool
    assert ("space" in tools["ask_data"]["inputSchema"]["properties"]) is bool(spaces)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
        {"type": "object", "properties": {"a": {"type": ["string", "null"]}}},
        {"type": "array", "items": {"$ref": "#/$defs/A"}},
        {"type": "object", "$defs": {}},
    ],
)
def test_what_foundry_refuses_is_found(schema: dict[str, Any]) -> None:
    assert refused_parts(schema)


def test_an_argument_may_have_any_name() -> None:
    assert refused_parts({"type": "object", "properties": {"not": {"type": "string"}}}) == []
