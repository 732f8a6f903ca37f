"""OpenAI's own client for Node against the server: every task type, in one piece and streamed."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from agent_server.handlers.handler import Handler
from agent_server.handlers.registry import HandlerRegistry
from agent_server.protocol.task import Task
from tests.agent_server.handlers.agents import RecordingAgent
from tests.agent_server.http.serving import running, services
from tests.fakes.npm import npm_installed

Json = dict[str, Any]
ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("openai_node.cjs")
# Of every type that a handler of ours or MLflow's helpers yield: the client raises for types that it does not know.
ITEMS: list[Json] = [
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
    {"type": "mcp_call", "id": "mcp_1", "name": "ask", "title": "Asking", "arguments": "{}", "output": "42"},
    {"type": "mcp_call", "id": "mcp_2", "name": "ask", "arguments": "{}", "status": "failed"},
    {"type": "function_call", "call_id": "own", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "own", "output": "rain"},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "content": [
            {
                "type": "output_text",
                "text": "Rain [1].",
                "annotations": [
                    {"type": "url_citation", "url": "https://example.com", "title": "E"},
                    {"type": "file_citation", "file_id": "f", "filename": "notes.txt", "index": 9},
                ],
            },
            {"type": "refusal", "refusal": "No more."},
        ],
    },
    {"type": "function_call", "call_id": "yours", "name": "go", "arguments": '{"a": 1}'},
    {"type": "mcp_approval_request", "id": "a_1", "name": "delete", "arguments": "{}"},
]


def handler_of(*items: Json, error: Exception | None = None) -> Handler:
    registry = HandlerRegistry()

    @registry.stream_method
    async def stream(request: Json) -> AsyncGenerator[Json, None]:
        for item in items:
            yield {"type": "response.output_item.done", "item": item}
        if error is not None:
            raise error

    return registry.handler(Task.RESPONSES)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install the client with")
async def test_openais_client_for_node_reads_every_task_every_item_and_every_failure() -> None:
    package = await asyncio.to_thread(npm_installed, ROOT / ".data" / "openai", "openai", ROOT / "tests/npm/openai")
    agents: dict[str, tuple[Handler, Task]] = {
        task.name: (RecordingAgent(task).handler, task) for task in Task
    } | {
        "items": (handler_of(*ITEMS), Task.RESPONSES),
        "failing": (handler_of(error=RuntimeError("the password is hunter2")), Task.RESPONSES),
    }  # fmt: skip
    async with AsyncExitStack() as servers:
        addresses = {
            name: (await servers.enter_async_context(running(services(handler, task=task)))).address
            for name, (handler, task) in agents.items()
        }
        node = shutil.which("node")
        assert node
        process = await asyncio.create_subprocess_exec(
            node, str(SCRIPT), json.dumps(addresses), env={"NODE_PATH": str(package.parent)}, stdout=-1, stderr=-1
        )
        out, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, errors.decode()
    results = json.loads(out)

    for task in Task:
        assert results[task.name] == {
            "response": "Hello",
            "streamed": "Hello",
            "final": "Hello",
            "status": "completed",
            "outputs": {"a": 1},
            "completion": "Hello",
            "chat": "Hello",
            "usage": [5, 5, 5, 5],
        }
    assert results["items"]["items"] == [item["type"] for item in ITEMS]
    assert results["items"]["annotations"] == 2
    assert (results["items"]["finish"], results["items"]["calls"]) == ("tool_calls", ["go"])
    assert "response.reasoning_summary_part.added" in results["items"]["kinds"]

    failing = results["failing"]
    assert [failing[name]["status"] for name in ("responses", "chat", "parameter")] == [500, 500, 400]
    assert failing["parameter"]["param"] == "input[0].role"
    assert "The agent failed" in failing["chatStream"]["message"]
    assert "The agent failed" in failing["helper"]
    assert failing["stream"][-2:] == ["error", "response.failed"]
    assert "hunter2" not in out.decode()
