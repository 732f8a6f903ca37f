"""Foundry's tools as an MCP client meets them, over the local host."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp.types import CallToolResult

from app.foundry.mcp.foundry_mcp import FoundryMcp
from app.foundry.mcp.tool_calls import ToolCalls
from tests.foundry.mcp.served_mcp import KEY, MemoryRequests, Weather, ready, served

LISTING = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
CALLING = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "weather", "arguments": {"query": "X"}},
}


def text_of(result: object) -> str:
    assert isinstance(result, CallToolResult)
    assert result.structured_content is None
    (content,) = result.content
    assert content.type == "text"
    return content.text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_lists_the_tools_and_calls_them(
    monkeypatch: pytest.MonkeyPatch, mode: Literal["auto", "legacy"]
) -> None:
    async with served(ready(), monkeypatch) as host, host.client(mode) as client:
        listed = (await client.list_tools()).tools
        answer = await client.call_tool("weather", {"query": "Oslo"})
        refused = await client.call_tool("weather", {})
        unknown = await client.call_tool("drop_table", {"query": "Oslo"})
    assert [tool.name for tool in listed] == ["weather", "get_result"]
    for tool in listed:
        assert tool.annotations is not None
        hints = tool.annotations
        assert (hints.read_only_hint, hints.destructive_hint, hints.open_world_hint) == (True, False, False)
    assert (text_of(answer), answer.is_error) == ("Sunny in Oslo", False)
    assert (text_of(refused), refused.is_error) == ("There is no question.", True)
    assert (text_of(unknown), unknown.is_error) == ("There is no tool of the name 'drop_table'.", True)
    (asked, _) = host.requests.requests
    assert (asked.tool, dict(asked.arguments), asked.value_is_sent) == ("weather", {"query": "Oslo"}, False)
    assert asked.traceparent is not None
    assert asked.traceparent.startswith("00-")


@pytest.mark.parametrize(
    ("arguments", "text"), [({"query": "Oslo"}, "Sunny in Oslo"), ({"city": "Oslo"}, "There is no question.")]
)
async def test_what_takes_long_is_got_later_by_its_handle(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], text: str
) -> None:
    monkeypatch.setattr("app.foundry.mcp.tool_calls._WAIT_SECONDS", 0.1)
    async with served(Weather(), monkeypatch) as host, host.client() as client:
        begun = await client.call_tool("weather", arguments)
        (request,) = host.requests.requests
        again = await client.call_tool("get_result", {"handle": request.correlation_id})
        host.tool.go_on.set()
        answer = await client.call_tool("get_result", {"handle": request.correlation_id})
        unknown = await client.call_tool("get_result", {"handle": "weather.0123"})
        none = await client.call_tool("get_result", {})
    assert request.correlation_id in text_of(begun)
    assert text_of(begun) == text_of(again)
    assert not begun.is_error
    assert (text_of(answer), answer.is_error) == (text, "query" not in arguments)
    assert host.tool.calls == [arguments]
    for failed in (unknown, none):
        assert (failed.is_error, "no result of that handle" in text_of(failed)) == (True, True)


@pytest.mark.parametrize("key", ["", "another"])
async def test_who_has_no_key_is_told_nothing(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    async with served(ready(), monkeypatch) as host:
        refused = await host.post(json.dumps(CALLING), **{"x-functions-key": key})
        answered = await host.post(json.dumps(CALLING))
    assert (refused.status_code, refused.content, answered.status_code) == (401, b"", 200)
    assert len(host.tool.calls) == 1


@pytest.mark.parametrize(
    "headers",
    [
        *(
            {"Accept": accept}
            for accept in ("application/json, text/event-stream", "application/json", "*/*", "", "text/event-stream")
        ),
        *(
            {"Content-Type": content_type}
            for content_type in ("application/json; charset=utf-8", "Application/JSON", "application/json-rpc", "")
        ),
    ],
)
async def test_every_caller_gets_json_whatever_its_headers_say(headers: dict[str, str]) -> None:
    answer = await received(json.dumps(LISTING).encode(), headers)
    assert (answer.status, answer.content_type) == (200, "application/json")
    assert "result" in json.loads(answer.body)


@pytest.mark.parametrize("kind", ["prompts", "resources", "resourceTemplates"])
@pytest.mark.parametrize("version", ["", "2025-06-18"])
async def test_who_asks_for_prompts_or_resources_is_told_that_there_are_none(kind: str, version: str) -> None:
    method = "resources/templates/list" if kind == "resourceTemplates" else f"{kind}/list"
    asked = {**LISTING, "method": method}
    answer = await received(json.dumps(asked).encode(), {"MCP-Protocol-Version": version})
    assert json.loads(answer.body)["result"] == {kind: []}


async def received(body: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> Any:
    tool = ready()
    mcp = FoundryMcp(ToolCalls([tool], MemoryRequests(tool)))
    try:
        return await mcp.receive(method, {"Content-Type": "application/json", **(headers or {})}, body)
    finally:
        await mcp.close()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (json.dumps([LISTING, LISTING]).encode(), 400),
        (b'"text"', 400),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "tools/list"}', 400),
        (b'{"id": 1, "method": "tools/list"}', 400),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
        (b'{"jsonrpc": "2.0", "method": "notifications/initialized"}', 202),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}', 200),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}', 200),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "weather", "arguments": []}}', 200),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": {}}', 200),
    ],
)
async def test_what_is_no_request_gets_an_error_of_json_rpc(body: bytes, status: int) -> None:
    answer = await received(body)
    assert answer.status == status
    if status == 202:
        assert answer.body == ""
    else:
        assert json.loads(answer.body)["error"]["message"]


async def test_a_body_that_is_too_long_is_not_read() -> None:
    answer = await received(b" " * (256 * 1024 + 1))
    assert (answer.status, answer.body) == (413, "Request body too large")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
            max_leaves=8,
        ).map(lambda params: json.dumps({**CALLING, "params": params}).encode()),
    ),
    version=st.sampled_from(["", "2025-03-26", "2025-11-25", "2026-07-28", "2099-01-01", "nonsense"]),
)
async def test_no_body_crashes_the_server(body: bytes, version: str) -> None:
    answer = await received(body, {"MCP-Protocol-Version": version} if version else None)
    assert 200 <= answer.status < 500


async def test_half_a_surrogate_pair_in_an_answer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(*_: object) -> str:
        return "It is \ud83d 7"

    monkeypatch.setattr(Weather, "call", call)
    answer = await received(json.dumps(CALLING).encode())
    assert json.loads(answer.body)["result"]["content"][0]["text"] == "It is \ufffd 7"


async def test_a_server_that_a_call_has_ended_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class EndOfEverythingError(BaseException):
        """Taken by nobody who handles failures."""

    async def end(*_: object) -> str:
        raise EndOfEverythingError

    tool = ready()
    mcp = FoundryMcp(ToolCalls([tool], MemoryRequests(tool)))
    with monkeypatch.context() as ending:
        ending.setattr(Weather, "call", end)
        ended = await mcp.receive("POST", {}, json.dumps(CALLING).encode())
    assert mcp._endpoint._running is not None
    await asyncio.wait({mcp._endpoint._running}, timeout=10)
    answered = await mcp.receive("POST", {}, json.dumps(CALLING).encode())
    await mcp.close()
    assert ended.status == 500
    assert json.loads(answered.body)["result"]["content"][0]["text"] == "Sunny in X"


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS"])
async def test_there_are_no_sessions_to_listen_to_or_to_end(method: str) -> None:
    answer = await received(b"", {"Accept": "text/event-stream"}, method)
    assert (answer.status, answer.headers) == (405, {"Allow": "POST"})


async def test_keys_and_tokens_are_not_handed_to_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[bytes, bytes]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope["headers"]))
        await send({"type": "http.response.start", "status": 202, "headers": []})

    mcp = FoundryMcp(ToolCalls([], MemoryRequests()))
    monkeypatch.setattr(mcp, "_endpoint", app)
    await mcp.receive("POST", {"X-Functions-Key": KEY, "Authorization": "Bearer x", "Mcp-Method": "m"}, b"", "00-a")
    assert seen[0].keys() == {b"content-type", b"mcp-method", b"traceparent"}
