from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from agent_server.http.event_stream import EventStream
from agent_server.http.json_encoding import json_bytes
from agent_server.http.open_answers import OpenAnswers
from agent_server.http.stream_ends import no_end
from agent_server.protocol.task import Task
from tests.agent_server.handlers.agents import RecordingAgent
from tests.agent_server.http.serving import (
    ScriptedHandler,
    event_types,
    frames,
    in_process,
    running,
    services,
)

WHOLE = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
    "[DONE]",
]


@pytest.mark.parametrize("path", ["/responses", "/v1/responses", "/api/responses", "/api/v1/responses", "/invocations"])
async def test_every_address_of_a_question_streams_the_whole_sequence(path: str) -> None:
    async with in_process(services()) as client:
        answer = await client.post(path, json={"input": "Hi", "stream": True})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert event_types(answer.text) == WHOLE
    assert all(line.startswith(("data: ", ":")) or not line for line in answer.text.split("\n"))


async def test_an_answer_in_one_piece_is_the_response_object() -> None:
    async with in_process(services()) as client:
        answer = await client.post("/responses", json={"input": "Hi"})
    body = answer.json()
    assert (body["object"], body["status"]) == ("response", "completed")
    assert body["output"][0]["content"][0]["text"] == "Hello there"


@pytest.mark.parametrize(
    ("content", "status", "param", "words"),
    [
        (b"", 400, None, "empty"),
        (b"{", 400, None, "not valid JSON at line 1"),
        (b"[1]", 400, None, "must be a JSON object"),
        (b'"Hi"', 400, None, "must be a JSON object"),
        (b"\xff\xfe\x00", 400, None, "not UTF-8"),
        ('{"input": "Hi"}'.encode("utf-16"), 400, None, "not UTF-8"),
        (b'{"input": "\xed\xa0\x80"}', 400, None, "not UTF-8"),
        (b"[" * 100_000, 400, None, "100 levels deep"),
        (b'{"input": "Hi", "custom_inputs": {"a": ' + b"[" * 99 + b"]" * 99 + b"}}", 400, None, "100 levels deep"),
        (b'{"input": "Hi", "stream": "yes"}', 400, "stream", "stream"),
        (b'{"input": "Hi", "background": true}', 400, "store", "keeps no responses"),
        (b'{"input": "Hi", "previous_response_id": "resp_x"}', 400, "store", "keeps no responses"),
        (b'{"messages": []}', 400, "input", "input"),
        (b'{"input": "' + b"x" * 5_000_000 + b'"}', 413, None, "too large"),
    ],
)
async def test_a_body_that_cannot_be_answered_is_refused_with_a_sentence(
    content: bytes, status: int, param: str | None, words: str
) -> None:
    async with in_process(services()) as client:
        answer = await client.post("/responses", content=content)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert words in error["message"]
    assert error["param"] == param
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-request-id"].startswith("req_")


async def test_half_of_a_surrogate_pair_reaches_no_handler() -> None:
    handler = ScriptedHandler()
    async with in_process(services(handler)) as client:
        await client.post("/responses", content=b'{"input": "a\\ud800b", "stream": false}')
    assert "\ud800" not in json.dumps(handler.requests, ensure_ascii=False)


async def test_clients_that_split_lines_at_any_unicode_line_end_read_whole_frames() -> None:
    async with in_process(services(ScriptedHandler(["one\u2028two\u0085three"]))) as client:
        answer = await client.post("/responses", json={"input": "Hi", "stream": True})
    lines = [line for line in answer.text.splitlines() if line]
    assert lines == [line for line in answer.text.split("\n") if line]
    assert frames(answer.text)[-2]["response"]["output"][0]["content"][0]["text"] == "one\u2028two\u0085three"


def test_a_number_that_json_does_not_have_is_null() -> None:
    assert json.loads(json_bytes({"a": [float("nan"), 1.5, (float("inf"),)]})) == {"a": [None, 1.5, [None]]}


async def test_headers_and_the_first_event_leave_before_the_handler_says_anything() -> None:
    handler = ScriptedHandler([], waits=True)
    async with (
        running(services(handler)) as server,
        server.client() as client,
        client.stream("POST", "/responses", json={"input": "Hi", "stream": True}) as answer,
    ):
        lines = answer.aiter_lines()
        assert json.loads((await anext(lines)).removeprefix("data: "))["type"] == "response.created"
        handler.go_on.set()
        rest = [line async for line in lines if line]
    assert rest[-1] == "data: [DONE]"


async def test_silence_is_filled_with_comments() -> None:
    gate = asyncio.Event()

    async def slow() -> Any:
        yield ({"type": "first"},)
        await gate.wait()
        yield ({"type": "second"}, {"type": "third"})

    sent: list[bytes] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])
        if sent.count(b": keep-alive\n\n") == 2:
            gate.set()

    async def receive() -> Any:
        await asyncio.Event().wait()

    stream = EventStream(slow(), OpenAnswers(1), no_end, keep_alive_seconds=0.01)
    await stream({"type": "http"}, receive, send)
    assert sent == [
        b'data: {"type":"first"}\n\n',
        b": keep-alive\n\n",
        b": keep-alive\n\n",
        b'data: {"type":"second"}\n\ndata: {"type":"third"}\n\n',
        b"data: [DONE]\n\n",
        b"",
    ]


@pytest.mark.parametrize("task", list(Task))
async def test_an_agent_of_every_task_answers_in_every_format(task: Task) -> None:
    agent = RecordingAgent(task)
    messages = {"messages": [{"role": "user", "content": "Hi"}]}
    question = {"input": "Hi"}
    async with in_process(services(agent.handler, task=task)) as client:
        native = messages if task in (Task.CHAT, Task.CHAT_AGENT) else question
        whole = [
            (await client.post(path, json=body)).json()
            for path, body in (("/responses", question), ("/v1/chat/completions", messages), ("/invocations", native))
        ]
        streamed = [
            frames((await client.post(path, json={**body, "stream": True})).text)
            for path, body in (("/responses", question), ("/chat/completions", messages), ("/invocations", native))
        ]
    assert whole[0]["output"][0]["content"][0]["text"] == "Hello"
    assert whole[1]["choices"][0]["message"]["content"] == "Hello"
    assert "Hello" in json.dumps(whole[2])
    assert all(sent[-1] == "[DONE]" for sent in streamed)
    assert streamed[0][-2]["response"]["output"][0]["content"][0]["text"] == "Hello"
    said = [choice["delta"].get("content") or "" for chunk in streamed[1][:-1] for choice in chunk["choices"]]
    assert "".join(said) == "Hello"
    assert "Hel" in json.dumps(streamed[2])


@pytest.mark.parametrize(
    ("task", "path", "body", "param"),
    [
        (Task.RESPONSES, "/chat/completions", {"messages": "Hi"}, "messages"),
        (Task.RESPONSES, "/chat/completions", {"messages": [{"role": "wizard", "content": "Hi"}]}, "messages[0].role"),
        (Task.CHAT, "/invocations", {"input": "Hi"}, "messages"),
        (Task.CHAT_AGENT, "/invocations", {"messages": 1}, "messages"),
        (Task.NONE, "/invocations", {"stream": 1}, "stream"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_in_another_format_is_refused_before_a_stream_begins(
    task: Task, path: str, body: dict[str, Any], param: str, stream: bool
) -> None:
    async with in_process(services(RecordingAgent(task).handler, task=task)) as client:
        answer = await client.post(path, json={"stream": stream, **body})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("path", "name", "value", "default"),
    [
        ("/responses", "tools", [{"type": "function", "name": "f", "parameters": {}}], []),
        ("/responses", "temperature", 0.2, 1),
        ("/responses", "text", {"format": {"type": "json_object"}}, {"format": {"type": "text"}}),
        ("/responses", "tool_choice", "required", "auto"),
        ("/responses", "max_output_tokens", 5, None),
        ("/chat/completions", "max_tokens", 5, None),
        ("/chat/completions", "temperature", 0, 1),
        ("/chat/completions", "response_format", {"type": "json_object"}, {"type": "text"}),
        ("/chat/completions", "tools", [{"type": "function", "function": {"name": "f"}}], []),
    ],
)
async def test_the_databricks_agent_refuses_what_only_a_model_could_honour(
    path: str, name: str, value: Any, default: Any
) -> None:
    question = {"input": "Hi"} if path == "/responses" else {"messages": [{"role": "user", "content": "Hi"}]}
    async with in_process(services(databricks_agent=True)) as client:
        refused = await client.post(path, json={**question, name: value})
        accepted = await client.post(path, json={**question, name: default})
    async with in_process(services()) as client:
        passed_on = await client.post(path, json={**question, name: value})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)
    assert (accepted.status_code, passed_on.status_code) == (200, 200)


async def test_the_trace_is_named_where_its_header_asks_for_it() -> None:
    ended: list[Any] = []

    class Trace:
        trace_id = "tr-1"

        def end(self, output: Any, error: Any = None) -> None:
            ended.append((output or {}).get("status"))

    class Tracer:
        def start(self, name: str, request: Any, **_: str) -> Trace:
            return Trace()

    header = {"x-mlflow-return-trace-id": "true"}
    async with in_process(services(tracer=Tracer())) as client:
        streamed = await client.post("/responses", json={"input": "Hi", "stream": True}, headers=header)
        whole = await client.post("/responses", json={"input": "Hi"}, headers=header)
        unasked = await client.post("/responses", json={"input": "Hi", "stream": True})
    assert frames(streamed.text)[-2:] == [{"trace_id": "tr-1"}, "[DONE]"]
    assert whole.json()["metadata"] == {"trace_id": "tr-1"}
    assert event_types(unasked.text) == WHOLE
    assert ended == ["completed"] * 3


async def test_an_unexpected_failure_is_a_sentence_with_an_error_id_and_not_the_text_of_an_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        async def create(self, *_: Any) -> Any:
            raise RuntimeError("the secret is xyzzy")

    async with in_process(services(responses=Broken(), databricks_agent=True)) as client:
        answer = await client.post("/responses", json={"input": "Hi"})
    assert answer.status_code == 500
    assert "xyzzy" not in answer.text
    error_id = answer.json()["error"]["message"].split("error id ")[1].split()[0]
    failures = [record for record in caplog.records if record.exc_info]
    assert [error_id in record.getMessage() for record in failures] == [True]


async def test_a_frame_that_is_no_json_ends_the_stream_with_a_sentence_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Odd(ScriptedHandler):
        async def stream(self, request: Any) -> Any:
            yield {"fine": 1}
            yield {"set": {1, 2}}

    async with in_process(services(Odd(), task=Task.NONE)) as client:
        answer = await client.post("/invocations", json={"stream": True})
        whole = await client.post("/invocations", json={})
    sent = frames(answer.text)
    assert (sent[0], sent[-1]) == ({"fine": 1}, "[DONE]")
    assert "error id" in sent[1]["error"]["message"]
    assert whole.status_code == 200
    assert len([record for record in caplog.records if record.exc_info]) == 1
