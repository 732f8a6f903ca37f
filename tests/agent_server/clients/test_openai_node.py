"""OpenAI's own client for Node against the server: every task type, in one piece and streamed."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from agent_server.handlers.handler import Handler
from agent_server.handlers.registry import HandlerRegistry
from agent_server.protocol.task import Task
from tests.agent_server.handlers.agents import RecordingAgent
from tests.agent_server.http.serving import running, services
from tests.agent_server.protocol.accumulated import assembler
from tests.agent_server.protocol.loose_events import ENDS, LOOSE_EVENTS
from tests.fakes.npm import npm_installed

Json = dict[str, Any]
ROOT = Path(__file__).parents[3]
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


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no npm to install the client with"),
]


def node(script: str, *arguments: str, stdin: str = "") -> Any:
    """The JSON that a script which requires the client writes."""
    package = npm_installed(ROOT / ".data" / "openai", "openai", ROOT / "tests" / "npm" / "openai")
    program = shutil.which("node")
    assert program
    ended = subprocess.run(
        [program, str(Path(__file__).with_name(script)), *arguments],
        env={"NODE_PATH": str(package.parent)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_of_the_events_of_any_answer_the_client_builds_what_their_last_one_says() -> None:
    streams: list[list[Json]] = []

    @given(st.lists(LOOSE_EVENTS, max_size=12), ENDS)
    @settings(max_examples=200, phases=[Phase.generate], database=None)
    def collect(loose: list[Json], end: Json | None) -> None:
        response = assembler()
        events = response.begin()
        for event in [*loose, *([end] if end else [])]:
            events += response.add(event)
        streams.append(events + response.finish())

    collect()
    built = node("accumulate_in_node.cjs", stdin=json.dumps(streams))
    assert built == [events[-1]["response"]["output"] for events in streams]


async def test_openais_client_for_node_reads_every_task_every_item_and_every_failure() -> None:
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
        results = await asyncio.to_thread(node, "openai_node.cjs", json.dumps(addresses))

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
    assert "hunter2" not in json.dumps(results)
