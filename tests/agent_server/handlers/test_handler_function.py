from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from agent_server.handlers.handler_function import HandlerCancelledError, HandlerFunction, HandlerResultError
from agent_server.handlers.request_context import RequestContext, current_request, request_context
from agent_server.identity.server_caller import ServerCaller
from agent_server.protocol.api_error import ApiError

Json = dict[str, Any]
CONTEXT = RequestContext("req-1", ServerCaller("local"), {})
EVENTS = [{"n": 1}, {"n": 2}]


class Asked(BaseModel):
    question: str


@dataclass
class Answered:
    answer: str


async def coroutine(request: Json) -> Json:
    return {"id": current_request().request_id}


def plain(request: Json) -> Json:
    return {"id": current_request().request_id}


class CalledAsynchronously:
    async def __call__(self, request: Json) -> Json:
        return {"id": current_request().request_id}


async def async_generator(request: Json) -> AsyncGenerator[Json, None]:
    for event in EVENTS:
        yield event


def generator(request: Json) -> Iterator[Json]:
    yield from EVENTS


async def coroutine_of_generator(request: Json) -> AsyncGenerator[Json, None]:
    return async_generator(request)


def function_of_generator(request: Json) -> AsyncGenerator[Json, None]:
    return async_generator(request)


def function_of_list(request: Json) -> list[Json]:
    return EVENTS


@pytest.mark.parametrize("function", [coroutine, plain, CalledAsynchronously()])
async def test_any_kind_of_function_answers_and_sees_the_request(function: Callable[[Json], Any]) -> None:
    with request_context(CONTEXT):
        assert await HandlerFunction(function).call({}) == {"id": "req-1"}


@pytest.mark.parametrize(
    "function", [async_generator, generator, coroutine_of_generator, function_of_generator, function_of_list]
)
async def test_any_kind_of_generator_yields(function: Callable[[Json], Any]) -> None:
    assert [event async for event in HandlerFunction(function).iterate({})] == EVENTS


async def test_models_and_dataclasses_are_taken_and_given() -> None:
    def answer(request: Asked) -> Answered:
        return Answered(request.question.upper())

    assert await HandlerFunction(answer).call({"question": "hi"}) == {"answer": "HI"}


async def test_the_model_is_found_where_only_type_checkers_know_the_other_names() -> None:
    def answer(request: Asked) -> Unknown:  # type: ignore[name-defined]  # noqa: F821
        return {"type": type(request).__name__}

    def answer_to_unknown(request: Unknown) -> Json:  # type: ignore[name-defined]  # noqa: F821
        return {"type": type(request).__name__}

    assert await HandlerFunction(answer).call({"question": "hi"}) == {"type": "Asked"}
    assert await HandlerFunction(answer_to_unknown).call({"question": "hi"}) == {"type": "dict"}


async def test_a_request_that_the_model_refuses_is_the_callers_mistake() -> None:
    def answer(request: Asked) -> Json:
        return {}

    with pytest.raises(ApiError) as refused:
        await HandlerFunction(answer).call({"question": ["secret"]})
    assert (refused.value.status, refused.value.param) == (400, "question")
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("result", ["text", None, [1]])
async def test_what_is_no_object_is_refused(result: Any) -> None:
    with pytest.raises(HandlerResultError):
        await HandlerFunction(lambda request: result).call({})


async def test_an_answer_where_events_were_expected_is_refused() -> None:
    with pytest.raises(HandlerResultError, match="must yield events"):
        [event async for event in HandlerFunction(plain_answer).iterate({})]


def plain_answer(request: Json) -> Json:
    return {"output": []}


async def test_a_function_that_blocks_holds_up_nobody() -> None:
    released = threading.Event()

    def block(request: Json) -> Json:
        assert released.wait(10)
        return {}

    # Far more than a pool has threads.
    waiting = [asyncio.create_task(HandlerFunction(block).call({})) for _ in range(60)]
    assert await asyncio.wait_for(HandlerFunction(plain_answer).call({}), 5) == {"output": []}
    released.set()
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_events_of_a_generator_that_blocks_arrive_one_by_one() -> None:
    released = threading.Event()

    def block(request: Json) -> Iterator[Json]:
        yield {"n": 1}
        assert released.wait(10)
        yield {"n": 2}

    events = HandlerFunction(block).iterate({})
    assert await asyncio.wait_for(anext(events), 5) == {"n": 1}
    released.set()
    assert [event async for event in events] == [{"n": 2}]


async def test_a_generator_waits_for_a_slow_client_and_is_closed_when_it_leaves() -> None:
    made: list[int] = []
    closed = threading.Event()

    def endless(request: Json) -> Iterator[Json]:
        try:
            for number in range(1_000_000):
                made.append(number)
                yield {"n": number}
        finally:
            closed.set()

    async with aclosing(HandlerFunction(endless).iterate({})) as events:
        await anext(events)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(made) < 100
    assert await asyncio.to_thread(closed.wait, 5)


async def test_what_a_function_in_a_thread_raises_arrives() -> None:
    def fail(request: Json) -> Json:
        raise LookupError("no")

    with pytest.raises(LookupError):
        await HandlerFunction(fail).call({})


async def test_what_a_generator_in_a_thread_raises_arrives_after_its_events() -> None:
    def fail(request: Json) -> Iterator[Json]:
        yield {"n": 1}
        raise LookupError("no")

    events = HandlerFunction(fail).iterate({})
    assert await anext(events) == {"n": 1}
    with pytest.raises(LookupError):
        await anext(events)


async def test_a_cancelled_request_does_not_wait_for_the_thread() -> None:
    released = threading.Event()
    asked = asyncio.create_task(HandlerFunction(lambda request: released.wait(10) and {}).call({}))
    await asyncio.sleep(0)
    asked.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert time.monotonic() - began < 5
    released.set()


async def awaits_a_cancelled_task(_: Json) -> Json:
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task
    raise AssertionError("it was cancelled")


async def yields_and_awaits_a_cancelled_task(request: Json) -> AsyncGenerator[Json, None]:
    yield {"n": 1}
    await awaits_a_cancelled_task(request)


async def test_a_cancellation_of_the_functions_own_making_is_its_failure() -> None:
    with pytest.raises(HandlerCancelledError):
        await HandlerFunction(awaits_a_cancelled_task).call({})
    with pytest.raises(HandlerCancelledError):
        [event async for event in HandlerFunction(yields_and_awaits_a_cancelled_task).iterate({})]


async def test_a_cancellation_of_the_request_stays_one() -> None:
    async def waits(_: Json) -> Json:
        await asyncio.Event().wait()
        return {}

    call = asyncio.create_task(HandlerFunction(waits).call({}))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
