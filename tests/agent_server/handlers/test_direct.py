from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from agent_server.handlers.direct import answer_direct, run_direct
from agent_server.handlers.handler import Handler
from agent_server.handlers.registry import HandlerRegistry
from agent_server.protocol.api_error import ApiError
from agent_server.protocol.responses_request import parse_responses_request
from agent_server.protocol.task import Task
from tests.agent_server.protocol.accumulated import accumulated

Json = dict[str, Any]
HELLO = parse_responses_request({"input": "Hello", "model": "m"})


def delta(text: str) -> Json:
    return {"type": "response.output_text.delta", "item_id": "a", "delta": text}


def streaming(*events: Json, raises: Exception | None = None) -> Handler:
    registry = HandlerRegistry()

    @registry.stream_method
    async def stream(request: Json) -> AsyncGenerator[Json, None]:
        for event in events:
            yield event
        if raises is not None:
            raise raises

    return registry.handler(Task.RESPONSES)


def invoking(answer: Callable[[Json], Json]) -> Handler:
    registry = HandlerRegistry()
    registry.invoke_method(answer)
    return registry.handler(Task.RESPONSES)


async def strict(handler: Handler) -> list[Json]:
    return [event async for event in run_direct(handler, Task.RESPONSES, HELLO)]


async def test_a_stream_is_the_whole_sequence() -> None:
    response = accumulated(await strict(streaming(delta("Hel"), delta("lo"))))
    assert response["status"] == "completed"
    assert response["output"][0]["content"][0]["text"] == "Hello"
    assert response["id"].startswith("resp_")
    assert response["model"] == "m"


async def test_the_handler_is_given_the_request_as_items() -> None:
    asked: list[Json] = []

    def answer(request: Json) -> Json:
        asked.append(request)
        return {"output": []}

    await answer_direct(invoking(answer), Task.RESPONSES, HELLO)
    assert asked == [{"input": [{"type": "message", "role": "user", "content": "Hello"}], "model": "m"}]


@pytest.mark.parametrize("output", [[], [{"type": "message", "content": "Hi"}]])
async def test_an_answer_in_one_piece_is_completed_into_a_response(output: list[Json]) -> None:
    usage = {"input_tokens": 1, "output_tokens": 2}
    answer = {"output": output, "usage": usage, "custom_outputs": {"a": 1}}
    response = await answer_direct(invoking(lambda request: answer), Task.RESPONSES, HELLO)
    assert (response["object"], response["status"]) == ("response", "completed")
    assert [part["text"] for item in response["output"] for part in item["content"]] == ["Hi"] * len(output)
    assert (response["usage"]["total_tokens"], response["custom_outputs"]) == (3, {"a": 1})


async def test_an_error_in_a_stream_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    events = await strict(streaming(delta("So far"), raises=RuntimeError("the password is hunter2")))
    response = accumulated(events)
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert "hunter2" not in str(events)
    assert response["output"][0]["content"][0]["text"] == "So far"
    (logged,) = caplog.records
    error_id = logged.args[0] if isinstance(logged.args, tuple) else ""
    assert logged.exc_info
    assert str(error_id) in response["error"]["message"]


async def test_an_error_of_an_answer_in_one_piece_would_fail_again() -> None:
    def fail(request: Json) -> Json:
        raise RuntimeError("the password is hunter2")

    with pytest.raises(ApiError) as failed:
        await answer_direct(invoking(fail), Task.RESPONSES, HELLO)
    assert (failed.value.status, failed.value.retryable) == (500, False)
    assert "hunter2" not in failed.value.message


@pytest.mark.parametrize("status", [400, 429])
async def test_what_a_handler_refuses_reaches_the_caller_in_its_own_words(status: int) -> None:
    def refuse(request: Json) -> Json:
        raise ApiError(status, "Ask for less.", param="input", code="too_much")

    with pytest.raises(ApiError, match="Ask for less") as refused:
        await answer_direct(invoking(refuse), Task.RESPONSES, HELLO)
    assert refused.value.status == status
    error = (await strict(invoking(refuse)))[-2]
    assert (error["type"], error["message"], error["param"]) == ("error", "Ask for less.", "input")
    assert error["code"] == "too_much"


async def test_a_handlers_own_error_event_fails_the_request() -> None:
    with pytest.raises(ApiError, match="No data today"):
        await answer_direct(streaming({"type": "error", "message": "No data today."}), Task.RESPONSES, HELLO)


@pytest.mark.parametrize("wrong", [{"type": "my.event"}, {"text": "Hi"}])
async def test_what_is_no_event_fails_the_response(wrong: Json) -> None:
    assert accumulated(await strict(streaming(delta("Hi"), wrong)))["status"] == "failed"


async def test_a_client_that_leaves_ends_the_handlers_work() -> None:
    ended = asyncio.Event()
    registry = HandlerRegistry()

    @registry.stream_method
    async def stream(request: Json) -> AsyncGenerator[Json, None]:
        try:
            yield delta("Hi")
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def read() -> None:
        async with aclosing(run_direct(registry.handler(Task.RESPONSES), Task.RESPONSES, HELLO)) as events:
            async for _ in events:
                pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert ended.is_set()


async def test_the_first_event_does_not_wait_for_the_handler() -> None:
    registry = HandlerRegistry()

    @registry.stream_method
    async def stream(request: Json) -> AsyncGenerator[Json, None]:
        await asyncio.Event().wait()
        yield {}

    async with aclosing(run_direct(registry.handler(Task.RESPONSES), Task.RESPONSES, HELLO)) as events:
        assert (await asyncio.wait_for(anext(events), 5))["type"] == "response.created"
