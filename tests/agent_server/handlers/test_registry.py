from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from types import ModuleType
from typing import Any

import pytest

from agent_server.handlers.handler import Handler
from agent_server.handlers.registry import HandlerRegistry, NoHandlerError
from agent_server.protocol.task import Task

Json = dict[str, Any]
DELTA = {"type": "response.output_text.delta", "item_id": "a", "delta": "Hi"}
ITEM = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}


async def all_of(handler: Handler) -> list[Json]:
    return [event async for event in handler.stream({})]


def test_without_a_handler_the_start_fails() -> None:
    with pytest.raises(NoHandlerError, match=r"@invoke\(\) or @stream\(\)"):
        HandlerRegistry().handler(Task.RESPONSES)


async def test_the_decorated_functions_answer_and_stay_what_they_were() -> None:
    agent = HandlerRegistry()

    @agent.invoke_method
    async def one(request: Json) -> Json:
        return {"output": [ITEM]}

    @agent.stream_method()
    async def many(request: Json) -> AsyncGenerator[Json, None]:
        yield DELTA

    handler = agent.handler(Task.RESPONSES)
    assert await handler.invoke({}) == await one({}) == {"output": [ITEM]}
    assert await all_of(handler) == [event async for event in many({})] == [DELTA]


async def test_streaming_is_derived_from_an_answer_in_one_piece() -> None:
    agent = HandlerRegistry()

    @agent.invoke_method
    def one(request: Json) -> Json:
        return {"output": [ITEM]}

    assert await all_of(agent.handler(Task.RESPONSES)) == [
        {"type": "response.completed", "response": {"output": [ITEM]}}
    ]


async def test_an_answer_in_one_piece_is_derived_from_streaming() -> None:
    agent = HandlerRegistry()

    @agent.stream_method
    async def many(request: Json) -> AsyncGenerator[Json, None]:
        yield DELTA

    answer = await agent.handler(Task.RESPONSES).invoke({})
    assert [part["text"] for item in answer["output"] for part in item["content"]] == ["Hi"]


@pytest.mark.parametrize(
    ("events", "answer"),
    [
        ([{"a": 1}], {"a": 1}),
        ([{"a": 1}, {"a": 2}], {"events": [{"a": 1}, {"a": 2}]}),
        ([], {"events": []}),
    ],
)
async def test_without_a_task_events_of_any_form_become_an_answer(events: list[Json], answer: Json) -> None:
    agent = HandlerRegistry()

    @agent.stream_method
    async def many(request: Json) -> AsyncGenerator[Json, None]:
        for event in events:
            yield event

    assert await agent.handler(Task.NONE).invoke({}) == answer


def test_a_second_function_of_a_kind_is_refused_with_both_places() -> None:
    agent = HandlerRegistry()

    @agent.invoke_method
    def first(request: Json) -> Json:
        return {}

    with pytest.raises(ValueError, match=r"first \(.*test_registry.py:\d+\) and .*second \(") as refused:

        @agent.invoke_method
        def second(request: Json) -> Json:
            return {}

    assert "one function only" in str(refused.value)


def test_a_module_that_is_imported_twice_registers_its_function_again() -> None:
    agent = HandlerRegistry()

    def imported() -> None:
        @agent.invoke_method
        def only(request: Json) -> Json:
            return {}

    imported()
    imported()
    agent.handler(Task.NONE)


def test_a_function_that_takes_no_request_is_refused_at_once() -> None:
    agent = HandlerRegistry()
    with pytest.raises(TypeError, match="must take one argument"):
        agent.invoke_method(lambda: {})
    with pytest.raises(TypeError, match="a method of an object"):

        class Agent:
            @agent.invoke_method
            def answer(self, request: Json) -> Json:
                return {}


def mlflow_with(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    """MLflow's module as far as it is read, since importing it takes seconds; the real one is in the slow tests."""
    module = ModuleType("mlflow.genai.agent_server")
    for kind in ("invoke", "stream"):
        setattr(module, f"get_{kind}_function", lambda kind=kind: functions.get(kind))
    monkeypatch.setitem(sys.modules, "mlflow.genai.agent_server", module)


async def test_mlflows_own_decorators_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow_with(monkeypatch, invoke=lambda request: {"output": [ITEM]})
    assert await HandlerRegistry().handler(Task.NONE).invoke({}) == {"output": [ITEM]}


def test_both_kinds_of_decorators_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow_with(monkeypatch, invoke=lambda request: {})
    agent = HandlerRegistry()
    agent.invoke_method(lambda request: {})
    with pytest.raises(ValueError, match="MLflow"):
        agent.handler(Task.NONE)
