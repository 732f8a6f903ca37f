"""Schemas and results of tools from public bug reports of MCP servers and clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from mcp.types import CallToolResult, TextContent

from app.mcp_tools.tool_results import output_of
from app.tools.base import ToolError
from app.tools.foreign_schema import acceptable_schema
from tests.fakes.mcp_server import FakeMcpServer
from tests.mcp_tools.test_mcp_tools import call, mcp_tools, registry_of

TEXT = {"type": "string"}


def of(properties: Mapping[str, Any], **more: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **more}


SCHEMAS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "github/copilot-cli#1876": (
        of({"q": {"$ref": "#/$defs/Q"}}, required=["q"], **{"$defs": {"Q": of({"query": {**TEXT, "default": None}})}}),
        of({"q": of({"query": TEXT})}, required=["q"]),
    ),
    "CommandCodeAI/command-code#566": (
        of({"a": {"$ref": "#/definitions/A", "description": "who"}}, definitions={"A": of({"id": TEXT})}),
        of({"a": of({"id": TEXT}, description="who")}),
    ),
    "open-webui/computer#87": (
        of({"a": {"$ref": "#/$defs/none"}, "b": {"$ref": "https://x/y"}}),
        of({"a": {}, "b": {}}),
    ),
    "openai/openai-agents-python#454": ({"type": "object"}, of({})),
    "jacksteamdev/obsidian-mcp-tools#63": (
        {"type": "object", "additionalProperties": {}},
        of({}),
    ),
    "opentokenz/mcpx#28": (
        {"type": "object", "properties": {"op": TEXT}, "oneOf": [of({"a": TEXT}, required=["a"]), of({"b": TEXT})]},
        of({"a": TEXT, "b": TEXT, "op": TEXT}),
    ),
    "sandialabs/atlas-ui-3#727": ({"type": "string", "description": "the title"}, of({})),
    "MervinPraison/PraisonAI#3111": (of({"a": TEXT}, required=None), of({"a": TEXT})),
    "mastra-ai/mastra#23731": (of({"coin": TEXT, "required": ["coin"]}), of({"coin": TEXT})),
    "inngest/inngest#3305": (
        of({"data": True, "id": TEXT}, additionalProperties=False),
        of({"data": {}, "id": TEXT}),
    ),
    "Apicurio/apicurio-registry#10080": (of({"city": {"type": "strng"}}), of({"city": {}})),
    "can1357/oh-my-pi#2652": (
        of({"a": {"anyOf": [{"enum": ["A"], "type": "string"}, {"enum": ["A"], "type": "null"}]}}),
        of({"a": {"enum": ["A"], "type": "string"}}),
    ),
    "ThinkInAIXYZ/go-mcp#170": (
        of({"s": of({"p": {**TEXT, "required": True}}), "list": {"type": "array"}}),
        of({"s": of({"p": TEXT}), "list": {"type": "array", "items": {}}}),
    ),
    "code-yeongyu/senpi#952": (
        of({"a": {"allOf": [of({"x": TEXT}, required=["x"]), of({"y": TEXT})]}}),
        of({"a": of({"x": TEXT, "y": TEXT}, required=["x"])}),
    ),
    "anthropics/claude-code#2758": (
        {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "id": "x",
            **of({"n": {"type": "integer", "exclusiveMinimum": True}}),
        },
        of({"n": {"type": "integer"}}),
    ),
}


@pytest.mark.parametrize(("schema", "told"), SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_model_is_told_a_schema_that_its_endpoint_accepts(schema: dict[str, Any], told: dict[str, Any]) -> None:
    assert acceptable_schema(schema) == told


def text_of(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


RESULTS: dict[str, tuple[dict[str, Any], str]] = {
    "usememos/memos#6226": (
        {"content": [text_of("Scraped 1 URL. Its text is in structured content.")], "structuredContent": {"text": "é"}},
        'Scraped 1 URL. Its text is in structured content.\n{"text": "é"}',
    ),
    "said once, as the specification asks": (
        {"content": [text_of('{"a": [1, null]}')], "structuredContent": {"a": [1, None]}},
        '{"a": [1, null]}',
    ),
    "wrapped by the Python SDK": ({"content": [text_of("3")], "structuredContent": {"result": 3}}, "3"),
    "wrapped by the Python SDK, a text": ({"content": [text_of("3")], "structuredContent": {"result": "3"}}, "3"),
    "wrapped by the Python SDK, a list": (
        {"content": [text_of("a"), text_of("b")], "structuredContent": {"result": ["a", "b"]}},
        "a\nb",
    ),
    "kirodotdev/Kiro#8960": (
        {
            "content": [
                {"type": "resource_link", "uri": "https://x.example/v.mp4", "name": "v", "description": "a video"}
            ]
        },
        "v: a video (https://x.example/v.mp4)",
    ),
    "stacklok/mecatl#223": (
        {
            "content": [
                {"type": "resource", "resource": {"uri": "repo://a", "text": "# Read me"}},
                {"type": "image", "data": "aGk=", "mimeType": "image/png"},
            ]
        },
        "# Read me\n[An item of the kind image was left out]",
    ),
    "HKUDS/nanobot#4652": ({"content": []}, "(no output)"),
    "tsedio/tsed#3244": ({"content": [], "structuredContent": {"code": "E"}}, '{"code": "E"}'),
}


@pytest.mark.parametrize(("result", "text"), RESULTS.values(), ids=RESULTS.keys())
def test_nothing_that_a_tool_returned_is_lost(result: dict[str, Any], text: str) -> None:
    assert output_of(CallToolResult.model_validate(result)).text == text


def test_what_a_failure_holds_beside_its_text_is_told() -> None:
    """anthropics/claude-code#86032, langchain-ai/langchain#40471, openai/openai-agents-python#4224"""
    failure = {"isError": True, "content": [text_of("NEEDS_HUMAN")], "structuredContent": {"retry_after": 30}}
    with pytest.raises(ToolError, match=r'^NEEDS_HUMAN\n\{"retry_after": 30\}$'):
        output_of(CallToolResult.model_validate(failure))


@pytest.mark.parametrize("schema", [{"type": "object", "required": ["x"]}, {"type": "strng"}, {"$id": "mcpx"}])
async def test_a_result_that_is_not_as_its_schema_says_is_told_and_made_once(schema: dict[str, Any]) -> None:
    """NousResearch/hermes-agent#101330, opentokenz/mcpx#28, ThinkInAIXYZ/deepchat#2075"""
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url, "read_only": ["odd"]}) as tools:
        made: list[int] = []

        def odd() -> CallToolResult:
            made.append(1)
            return CallToolResult(content=[TextContent(type="text", text="42 rows")])

        server.mcp.add_tool(odd)
        server.mcp._tool_manager._tools["odd"].__dict__["output_schema"] = schema
        result = await call(await registry_of(tools), "s__odd")
    assert (result.succeeded, result.text, made) == (True, "42 rows", [1])


LOST_SESSIONS = {
    "modelcontextprotocol/python-sdk#1676": (404, ""),
    "zhayujie/CowAgent#3092": (404, "Not Found: Session not found"),
    "modelcontextprotocol/python-sdk#1004": (400, "Bad Request: No valid session ID provided"),
    "open-webui/mcpo#310": (404, '{"jsonrpc":"2.0","id":null,"error":{"code":32600,"message":"Session terminated"}}'),
    "LanternOps/breeze#3744": (
        403,
        '{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Mcp-Session-Id principal mismatch"}}',
    ),
    "punkpeye/mcp-proxy#108": (401, '{"error":"invalid_token"}'),
}


async def test_a_lost_session_is_begun_anew_however_the_server_says_so() -> None:
    async with FakeMcpServer() as server, mcp_tools({"name": "s", "url": server.url, "read_only": ["add"]}) as tools:
        registry = await registry_of(tools)
        for report, reply in LOST_SESSIONS.items():
            server.lost_session_reply, server.lost_sessions = reply, 1
            server.calls.clear()
            assert (report, (await call(registry, "s__add", a=1)).text) == (report, "2")
            server.lost_sessions = 1
            dropped = await call(registry, "s__drop_table", name="t")
            # Whether more than the session was refused is not known: nobody approved to try it twice.
            assert (report, dropped.succeeded) == (report, reply[0] == 404)
            assert len(server.calls) == 1 + dropped.succeeded
        server.lost_sessions = 9
        assert not (await call(registry, "s__add", a=1)).succeeded
