"""The stand-in workspace speaks as Databricks does, and its model is real."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app.databricks.credentials import PersonalAccessToken
from app.databricks.current_user import CurrentUser, CurrentUserLookup
from app.local.genie_stand_in import SPACE_ID
from app.local.model_server import MODEL_NAME, ModelNotInstalledError, ModelServer, model_file
from app.local.stand_in_workspace import StandInWorkspace, fitting
from app.local.warehouse_stand_in import WAREHOUSE_ID
from tests.fakes.workspaces import workspace_at

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "dapi-test"
HELLO = {"model": MODEL_NAME, "messages": [{"role": "user", "content": "Hello"}]}


class FakeLlama:
    """llama.cpp's server, as far as the stand-in uses it."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.disconnected = asyncio.Event()
        self.answers: list[web.Response] = []

    async def complete(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer llama-key"
        self.asked.append(await request.json())
        if self.answers:
            return self.answers.pop()
        if not self.asked[-1].get("stream"):
            return web.json_response({"choices": [{"message": {"content": "Hi"}}]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n')
        if self.asked[-1]["messages"][-1]["content"] == "never end":
            try:
                await asyncio.Event().wait()
            finally:
                self.disconnected.set()
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def workspace(token: str = TOKEN) -> AsyncIterator[tuple[ClientSession, FakeLlama]]:
    llama = FakeLlama()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", llama.complete)
    async with TestServer(application, handler_cancellation=True) as upstream:
        stand_in = StandInWorkspace(ModelServer(str(upstream.make_url("")), "llama-key"), TOKEN).application()
        async with (
            TestServer(stand_in, handler_cancellation=True) as server,
            ClientSession(server.make_url(""), headers={"Authorization": f"Bearer {token}"}) as client,
        ):
            yield client, llama


async def test_the_endpoint_describes_itself_as_a_chat_model_that_is_ready() -> None:
    async with workspace() as (client, _), client.get(f"/api/2.0/serving-endpoints/{MODEL_NAME}") as answer:
        described = await answer.json()
    assert described["task"] == "llm/v1/chat"
    assert described["state"]["ready"] == "READY"


async def test_the_workspace_knows_whose_token_it_is() -> None:
    credential = PersonalAccessToken(SecretStr(TOKEN))
    async with workspace() as (client, _), workspace_at(str(client._base_url), credential) as asked:
        assert await CurrentUserLookup(asked).find() == CurrentUser("you@localhost", "You")


@pytest.mark.parametrize("path", ["serving-endpoints/chat/completions", "api/2.0/serving-endpoints/x", "elsewhere"])
async def test_a_wrong_token_is_refused_everywhere(path: str) -> None:
    async with workspace(token="wrong") as (client, llama), client.post(f"/{path}", json=HELLO) as answer:
        assert answer.status == 401
        assert (await answer.json())["error_code"] == "UNAUTHENTICATED"
    assert llama.asked == []


async def test_a_model_that_closes_its_connection_without_a_word_answers_the_next_question() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"choices":[{"message":{"content":"Hi"}}]}'
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"POST ")
        writer.close()

    upstream = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    async with upstream:
        model = ModelServer(f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}", "llama-key")
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            TestServer(StandInWorkspace(model, TOKEN).application()) as server,
            ClientSession(server.make_url(""), headers=headers) as client,
        ):
            for _ in range(2):
                async with client.post("/serving-endpoints/chat/completions", json=HELLO) as answer:
                    assert answer.status == 200, await answer.text()


async def test_an_unknown_model_is_a_404_of_databricks() -> None:
    async with workspace() as (client, llama):
        async with client.post("/serving-endpoints/chat/completions", json=HELLO | {"model": "gpt"}) as answer:
            assert answer.status == 404
            assert await answer.json() == {
                "error_code": "RESOURCE_DOES_NOT_EXIST",
                "message": "Endpoint with name 'gpt' does not exist.",
            }
        async with client.get("/api/2.0/serving-endpoints/gpt") as answer:
            assert answer.status == 404
    assert llama.asked == []


@pytest.mark.parametrize(
    "body",
    ["", "[]", '"x"', "{}", '{"messages": 3}', '{"messages": [3]}', '{"messages": [{"role": "user", "content": 3}]}'],
)
async def test_an_invalid_request_body_is_answered_400(body: str) -> None:
    async with workspace() as (client, _), client.post("/serving-endpoints/chat/completions", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error_code"] == "BAD_REQUEST"


async def test_a_stream_is_forwarded_as_it_comes() -> None:
    async with (
        workspace() as (client, _),
        client.post("/serving-endpoints/chat/completions", json=HELLO | {"stream": True}) as answer,
    ):
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert await answer.text() == 'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'


async def test_a_closed_connection_ends_the_models_work() -> None:
    body = {"model": MODEL_NAME, "stream": True, "messages": [{"role": "user", "content": "never end"}]}
    async with workspace() as (client, llama):
        async with client.post("/serving-endpoints/chat/completions", json=body) as answer:
            assert await answer.content.readline()
            answer.close()
        async with asyncio.timeout(10):
            await llama.disconnected.wait()


async def test_the_model_gets_only_what_so_small_a_model_can_handle() -> None:
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "this?"},
    ]
    messages = [
        {"role": "system", "content": "Be brief. Never mention cats! And so on."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "12:00"},
        {"role": "user", "content": parts},
    ]
    body = {
        "model": MODEL_NAME,
        "messages": messages,
        "tools": [{}],
        "tool_choice": "auto",
        "max_tokens": 100_000,
        "n": 2,
    }
    async with workspace() as (client, llama):
        async with client.post("/serving-endpoints/chat/completions", json=body | {"temperature": 0}) as answer:
            assert answer.status == 200
        (asked,) = llama.asked
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is\nthis?"},
    ]
    assert asked["temperature"] == 0
    assert asked["max_tokens"] == 512
    assert not asked.keys() & {"tools", "tool_choice", "n", "model"}


@given(
    st.lists(
        st.sampled_from(["user", "assistant"]).map(lambda role: {"role": role, "content": "x" * 100}), max_size=20
    ),
    st.integers(min_value=0, max_value=3000),
)
def test_the_oldest_messages_are_left_out_and_never_the_question(history: list[dict[str, str]], limit: int) -> None:
    system, question = {"role": "system", "content": "s" * 50}, {"role": "user", "content": "q" * 50}
    kept = fitting([system, *history, question], limit)
    assert kept[0] == system
    assert kept[-1] == question
    assert kept[1:-1] == history[len(history) - (len(kept) - 2) :]
    room = (limit - 100) // 100
    assert len(kept) - 2 == min(len(history), max(0, room))


@pytest.mark.parametrize(
    ("told", "status", "code", "message"),
    [
        (
            {"type": "exceed_context_size_error", "message": "request (9031 tokens) exceeds"},
            400,
            "BAD_REQUEST",
            "Maximum context length exceeded: request (9031 tokens) exceeds",
        ),
        ({"message": "loading"}, 503, "TEMPORARILY_UNAVAILABLE", "loading"),
    ],
)
async def test_errors_of_the_model_become_errors_of_databricks(
    told: dict[str, str], status: int, code: str, message: str
) -> None:
    async with workspace() as (client, llama):
        llama.answers.append(web.json_response({"error": told}, status=status))
        async with client.post("/serving-endpoints/chat/completions", json=HELLO) as answer:
            assert answer.status == status
            assert await answer.json() == {"error_code": code, "message": message}


def test_a_missing_model_is_reported_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelNotInstalledError, match=r"app/local/requirements\.txt"):
        model_file()


@pytest.mark.slow
async def test_a_real_model_answers_over_the_stand_in() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.local.stand_in_workspace"),
        cwd=ROOT,
        env={**os.environ, "DATABRICKS_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    try:
        name, space, warehouse, address = [(await process.stdout.readline()).decode().strip() for _ in range(4)]
        assert name == f"DATABRICKS_MODEL_NAME={MODEL_NAME}"
        assert (space, warehouse) == (f"GENIE_SPACES={SPACE_ID}", f"SQL_WAREHOUSE_ID={WAREHOUSE_ID}")
        url = address.removeprefix("DATABRICKS_BASE_URL=") + "/chat/completions"
        system = {
            "role": "system",
            "content": "You are a helpful assistant for people who work with data in Databricks.",
        }
        question = {"role": "user", "content": "What is the capital of France?"}
        body = {"model": MODEL_NAME, "messages": [system, question], "stream": True, "temperature": 0}
        async with ClientSession() as client:
            async with client.post(url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                lines = (await answer.text()).strip().split("\n\n")
            too_long = {"model": MODEL_NAME, "messages": [{"role": "user", "content": "word " * 9000}]}
            async with client.post(url, json=too_long, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
                assert answer.status == 400
                assert (await answer.json())["message"].startswith("Maximum context length exceeded")
        assert lines[-1] == "data: [DONE]"
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        assert len(chunks) > 3, "the answer did not stream"
        assert "Paris" in "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
