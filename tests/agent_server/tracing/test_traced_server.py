"""The whole server, traced in the real MLflow: the trace's id for who asks, and feedback at the trace."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_server import mlflow_config
from agent_server.evaluation.local_server import LocalServer
from tests.agent_server.test_whole_chain import agent_server
from tests.fakes.mlflow_store import MlflowStore
from tests.fakes.serving_endpoint import TOKEN, ServingEndpoint, Stream, chat_chunk, chat_stream

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WANTS_TRACE = {"x-mlflow-return-trace-id": "true"}
_SECONDS = 60.0


@pytest.fixture
def http(mlflow_store: MlflowStore, own_agent: str) -> Iterator[httpx.Client]:
    with LocalServer() as server, httpx.Client(base_url=server.start(), timeout=60.0) as http:
        yield http


def test_traces_have_the_answer_and_are_named_and_take_feedback(http: httpx.Client, mlflow_store: MlflowStore) -> None:
    answer = http.post("/responses", json={"input": "Why?"}, headers=WANTS_TRACE).json()
    streamed = frames(http.post("/responses", json={"input": "Who?", "stream": True}, headers=WANTS_TRACE))
    kept = http.post("/responses", json={"input": "When?", "store": True}, headers=WANTS_TRACE).json()
    chat = {"messages": [{"role": "user", "content": "Where?"}], "stream": True}
    chatted = frames(http.post("/chat/completions", json=chat, headers=WANTS_TRACE))

    assert "trace_id" not in json.dumps(frames(http.post("/responses", json={"input": "?", "stream": True}))[:-1])
    ids = [
        answer["metadata"]["trace_id"],
        streamed[-2]["trace_id"],
        chatted[-2]["trace_id"],
        kept["metadata"]["trace_id"],
    ]
    for id, asked in zip(ids, ("Why?", "Who?", "Where?", "When?"), strict=True):
        trace = mlflow_store.trace(id)
        (root,) = trace.data.spans
        assert asked in json.dumps(root.inputs)
        assert f"You asked: {asked}" in json.dumps(root.outputs)
    assert trace.info.tags["response_id"] == kept["id"]

    for value, comment in (("up", ""), ("down", "Too short.")):
        given = http.post(f"/api/responses/{kept['id']}/feedback", json={"value": value, "comment": comment})
        assert given.status_code == 200, given.text
    (assessment,) = awaited_assessments(mlflow_store, ids[-1])
    assert (assessment.name, assessment.value, assessment.rationale) == ("user_feedback", False, "Too short.")
    assert assessment.source.source_id.startswith("user-")


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_turn_of_the_databricks_agent_has_its_model_calls_tokens_and_tools(
    mlflow_store: MlflowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    monkeypatch.setattr(mlflow_config, "_setup", ContextVar("mlflow_setup", default=mlflow_store.setup))
    call = {"index": 0, "id": "c1", "function": {"name": "current_time", "arguments": "{}"}}
    async with ServingEndpoint() as model, agent_server(model, tmp_path) as server:
        model.replies += [
            Stream([chat_chunk({"role": "assistant", "tool_calls": [call]}, "tool_calls")]),
            chat_stream("It is ", "late."),
        ]
        async with server.client() as client:
            asked = {"input": "What time is it?", "store": is_kept}
            reply = (await client.post("/responses", json=asked, headers=WANTS_TRACE)).json()

    trace = await asyncio.to_thread(mlflow_store.trace, reply["metadata"]["trace_id"])
    root, first, tool, second = trace.data.spans
    assert [span.span_type for span in trace.data.spans] == ["AGENT", "CHAT_MODEL", "TOOL", "CHAT_MODEL"]
    assert {span.parent_id for span in (first, tool, second)} == {root.span_id}
    assert "What time is it?" in json.dumps(first.inputs)
    assert tool.name == "execute_tool current_time"
    assert second.outputs["choices"][0]["message"]["content"] == "It is late."
    assert "It is late." in json.dumps(root.outputs)
    assert json.loads(trace.info.trace_metadata["mlflow.trace.tokenUsage"])["total_tokens"] == 9
    assert TOKEN not in str(trace.to_dict())


def frames(reply: httpx.Response) -> list[Any]:
    data = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def awaited_assessments(store: MlflowStore, trace_id: str) -> list[Any]:
    """Those of the last word that was said."""
    deadline = time.monotonic() + _SECONDS
    while True:
        found: list[Any] = store.trace(trace_id).info.assessments
        if [each.value for each in found] == [False] or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
