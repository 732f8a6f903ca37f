from __future__ import annotations

import asyncio

import pytest

from app.models.model import Completed, Message, ModelEvent, ModelRequest, Source, TextDelta, ToolCall
from app.models.model_errors import ModelError, RateLimitedError
from tests.fakes.scripted_model import ScriptedModel

REQUEST = ModelRequest((Message("user", "Hi"),))


async def answer(model: ScriptedModel) -> list[ModelEvent]:
    return [event async for event in model.stream(REQUEST)]


async def test_replies_are_given_in_turn_and_requests_recorded() -> None:
    call = ToolCall("1", "time", "{}")
    model = ScriptedModel(["Hello", ["It is ", Source("clock"), call], ["cut short", Completed(truncated=True)]])
    assert await answer(model) == [TextDelta("Hello"), Completed()]
    assert await answer(model) == [TextDelta("It is "), Source("clock"), Completed((call,))]
    assert await answer(model) == [TextDelta("cut short"), Completed(truncated=True)]
    assert model.requests == [REQUEST] * 3


async def test_a_failure_comes_after_what_was_said() -> None:
    model = ScriptedModel([["Half", RateLimitedError("slow")]])
    stream = model.stream(REQUEST)
    assert await anext(stream) == TextDelta("Half")
    with pytest.raises(RateLimitedError):
        await anext(stream)


async def test_a_gate_holds_the_answer_until_the_test_opens_it() -> None:
    gate = asyncio.Event()
    stream = ScriptedModel([["a", gate, "b"]]).stream(REQUEST)
    assert await anext(stream) == TextDelta("a")
    waiting = asyncio.create_task(anext(stream))
    await asyncio.sleep(0)
    assert not waiting.done()
    gate.set()
    assert await waiting == TextDelta("b")
    await stream.aclose()


async def test_a_stream_left_early_is_counted() -> None:
    model = ScriptedModel([["a", asyncio.Event()], "b"])
    stream = model.stream(REQUEST)
    await anext(stream)
    await stream.aclose()
    await answer(model)
    assert model.streams_closed_early == 1


async def test_an_empty_script_fails_as_a_model_does() -> None:
    with pytest.raises(ModelError):
        await answer(ScriptedModel())


async def test_the_last_reply_can_be_repeated() -> None:
    model = ScriptedModel(["a", "b"], repeat_last=True)
    assert [(await answer(model))[0] for _ in range(3)] == [TextDelta("a"), TextDelta("b"), TextDelta("b")]
