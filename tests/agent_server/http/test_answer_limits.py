"""How long, how large and how many: clients that leave or drip, handlers that hang, and a server that stops."""

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
from agent_server.http.open_answers import OpenAnswers
from agent_server.http.stream_ends import chat_end
from tests.agent_server.http.serving import (
    ScriptedHandler,
    event_types,
    frames,
    in_process,
    running,
    services,
    settings,
    until,
)
from tests.agent_server.http.test_answers import WHOLE


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


async def test_an_answer_that_takes_too_long_ends_with_error_and_failed() -> None:
    handler = ScriptedHandler(waits=True)
    made = services(handler, settings=settings(TURN_TIMEOUT_SECONDS="0.05"))
    async with in_process(made) as client:
        streamed = await client.post("/responses", json={"input": "Hi", "stream": True})
        whole = await client.post("/responses", json={"input": "Hi"})
    assert event_types(streamed.text)[-3:] == ["error", "response.failed", "[DONE]"]
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
    assert event_types(told.text)[-3:] == ["error", "response.failed", "[DONE]"]
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
    assert event_types(answer.text) == WHOLE
