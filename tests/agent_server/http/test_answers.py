from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import httpx
import pytest

from agent_server.http import event_stream, request_frame
from agent_server.http.application import Application
from agent_server.http.event_stream import EventStream
from agent_server.http.json_encoding import json_bytes
from agent_server.http.open_answers import OpenAnswers
from agent_server.http.stream_ends import chat_end, no_end
from agent_server.protocol.task import Task
from tests.agent_server.handlers.agents import RecordingAgent
from tests.agent_server.http.serving import (
    ScriptedHandler,
    frames,
    in_process,
    running,
    services,
    settings,
    until,
)


def types(text: str) -> list[str]:
    return [frame if frame == "[DONE]" else frame["type"] for frame in frames(text)]


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
    assert types(answer.text) == WHOLE
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


async def test_a_body_without_a_length_is_limited_too() -> None:
    async def body() -> Any:
        for _ in range(20):
            yield b"x" * 1000

    async with in_process(services(settings=settings(AGENT_SERVER_MAX_BODY_BYTES="5000"))) as client:
        answer = await client.post("/responses", content=body())
    assert answer.status_code == 413
    assert "5000 bytes" in answer.json()["error"]["message"]


async def test_a_body_that_says_that_it_is_too_large_is_not_read() -> None:
    async def body() -> Any:
        raise AssertionError("it is read")
        yield b""

    async with in_process(services()) as client:
        answer = await client.post("/responses", content=body(), headers={"Content-Length": "999999999"})
    assert answer.status_code == 413


async def test_half_of_a_surrogate_pair_reaches_no_handler() -> None:
    handler = ScriptedHandler()
    async with in_process(services(handler)) as client:
        await client.post("/responses", content=b'{"input": "a\\ud800b", "stream": false}')
    assert "\ud800" not in json.dumps(handler.requests, ensure_ascii=False)


async def test_what_is_nested_within_the_limit_reaches_the_handler() -> None:
    handler = ScriptedHandler()
    nested = b'{"a": [' + b"[]," * 200 + b"[" * 97 + b"]" * 97 + b"]}"
    async with in_process(services(handler)) as client:
        answer = await client.post(
            "/responses", content=b'\xef\xbb\xbf{"input": "[[", "custom_inputs": ' + nested + b"}"
        )
    assert answer.status_code == 200
    assert handler.requests[0]["custom_inputs"] == json.loads(nested)


async def test_a_body_that_drips_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_frame, "_BODY_SECONDS", 0.05)

    async def body() -> Any:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    async with in_process(services()) as client:
        answer = await client.post("/responses", content=body())
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "incomplete_body")


async def test_clients_that_split_lines_at_any_unicode_line_end_read_whole_frames() -> None:
    async with in_process(services(ScriptedHandler(["one\u2028two\u0085three"]))) as client:
        answer = await client.post("/responses", json={"input": "Hi", "stream": True})
    lines = [line for line in answer.text.splitlines() if line]
    assert lines == [line for line in answer.text.split("\n") if line]
    assert frames(answer.text)[-2]["response"]["output"][0]["content"][0]["text"] == "one\u2028two\u0085three"


def test_a_number_that_json_does_not_have_is_null() -> None:
    assert json.loads(json_bytes({"a": [float("nan"), 1.5, (float("inf"),)]})) == {"a": [None, 1.5, [None]]}


async def test_a_client_that_leaves_a_stream_cancels_the_handler() -> None:
    handler = ScriptedHandler(waits=True)
    async with running(services(handler)) as server, server.client() as client:
        async with client.stream("POST", "/responses", json={"input": "Hi", "stream": True}) as answer:
            assert answer.headers["x-request-id"]
            await handler.began.wait()
        await until(lambda: handler.ended == ["cancelled"])


async def test_a_client_that_leaves_before_its_answer_cancels_the_handler() -> None:
    handler = ScriptedHandler(waits=True)
    async with running(services(handler)) as server, server.client() as client:
        asking = asyncio.create_task(client.post("/responses", json={"input": "Hi"}))
        await handler.began.wait()
        asking.cancel()
        await until(lambda: handler.ended == ["cancelled"])


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


async def test_an_answer_that_takes_too_long_ends_with_error_and_failed() -> None:
    handler = ScriptedHandler(waits=True)
    made = services(handler, settings=settings(TURN_TIMEOUT_SECONDS="0.05"))
    async with in_process(made) as client:
        streamed = await client.post("/responses", json={"input": "Hi", "stream": True})
        whole = await client.post("/responses", json={"input": "Hi"})
    assert types(streamed.text)[-3:] == ["error", "response.failed", "[DONE]"]
    failed = frames(streamed.text)
    assert "longer than allowed" in failed[-3]["message"]
    assert failed[-2]["response"]["status"] == "failed"
    assert [frame["sequence_number"] for frame in failed[:-1]] == list(range(len(failed) - 1))
    assert whole.status_code == 504
    assert whole.headers["x-should-retry"] == "false"
    assert handler.ended == ["cancelled", "cancelled"]


async def test_a_client_that_reads_nothing_occupies_no_place_after_the_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_stream, "_LAST_FRAMES_SECONDS", 0.02)
    answers = OpenAnswers(1)

    async def endless() -> Any:
        while True:
            yield ({"type": "x"},)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def receive() -> Any:
        await asyncio.Event().wait()

    stream = EventStream(endless(), answers, chat_end, time_limit_seconds=0.02)
    await asyncio.wait_for(stream({"type": "http"}, receive, send), 10)
    answers.admit()


async def test_a_handler_that_ignores_its_cancellation_ends_with_the_time_limit_too() -> None:
    async def stubborn() -> Any:
        while True:
            with suppress(asyncio.CancelledError):
                yield ({"type": "x"},)
                await asyncio.sleep(0.01)

    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.Event().wait()

    stream = EventStream(stubborn(), OpenAnswers(1), chat_end, time_limit_seconds=0.05)
    await asyncio.wait_for(stream({"type": "http"}, receive, send), 10)
    assert b"longer than allowed" in sent[-3]
    assert sent[-2:] == [b"data: [DONE]\n\n", b""]


async def test_no_more_answers_than_allowed_are_made_at_the_same_time() -> None:
    handler = ScriptedHandler(waits=True)
    made = services(handler, settings=settings(AGENT_SERVER_MAX_CONCURRENT_ANSWERS="1"))
    async with in_process(made) as client:
        first = asyncio.create_task(client.post("/responses", json={"input": "Hi", "stream": True}))
        await handler.began.wait()
        refused = await client.post("/responses", json={"input": "Hi"})
        handler.go_on.set()
        await first
        accepted = await client.post("/responses", json={"input": "Hi"})
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "2"
    assert refused.headers["x-should-retry"] == "true"
    assert accepted.status_code == 200


async def test_bodies_that_arrive_at_the_same_time_are_no_way_around_the_limit() -> None:
    handler = ScriptedHandler(waits=True)
    made = services(handler, settings=settings(AGENT_SERVER_MAX_CONCURRENT_ANSWERS="2"))
    arrive = asyncio.Event()

    async def body() -> Any:
        await arrive.wait()
        yield b'{"input": "Hi"}'

    async with in_process(made) as client:
        asked = [asyncio.create_task(client.post("/responses", content=body())) for _ in range(6)]
        await asyncio.sleep(0.02)
        arrive.set()
        await handler.began.wait()
        handler.go_on.set()
        statuses = sorted([(await each).status_code for each in asked])
    assert statuses == [200, 200, 429, 429, 429, 429]


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
    assert types(unasked.text) == WHOLE
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


async def test_when_the_server_stops_new_questions_are_refused_and_running_ones_end_or_are_told() -> None:
    handler = ScriptedHandler(waits=True)
    handed_over: list[bool] = []

    async def hand_over() -> None:
        handed_over.append(True)

    made = services(handler, hand_over=hand_over)
    application = Application(made)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url="http://localhost:8000"
    ) as client:
        asking = asyncio.create_task(client.post("/responses", json={"input": "Hi", "stream": True}))
        whole = asyncio.create_task(client.post("/responses", json={"input": "Hi"}))
        await handler.began.wait()
        await until(lambda: len(handler.requests) == 2)
        stopping = asyncio.create_task(application.stop(finish_seconds=0.05))
        await asyncio.sleep(0)
        refused = await client.post("/responses", json={"input": "Hi"})
        ready = await client.get("/ready")
        await stopping
        told, cut = await asyncio.gather(asking, whole)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_restarting")
    assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
    assert types(told.text)[-3:] == ["error", "response.failed", "[DONE]"]
    assert "restarted" in frames(told.text)[-3]["message"]
    assert (cut.status_code, cut.headers["x-should-retry"]) == (503, "true")
    assert handed_over == [True]
    assert handler.ended == ["cancelled", "cancelled"]


async def test_an_answer_that_ends_while_the_server_stops_is_complete() -> None:
    handler = ScriptedHandler(waits=True)
    async with running(services(handler)) as server, server.client() as client:
        asking = asyncio.create_task(client.post("/responses", json={"input": "Hi", "stream": True}))
        await handler.began.wait()
        server.server.should_exit = True
        await until(lambda: server.application._answers.is_stopping)
        handler.go_on.set()
        answer = await asking
    assert types(answer.text) == WHOLE
