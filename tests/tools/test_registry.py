"""Whatever a tool or a model does wrong, the model is told, within limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.common.caller import UNKNOWN_CALLER, Caller
from app.content.blocks import Text
from app.models.model import Source, ToolCall
from app.tools.base import AnyTool, Effect, Tool, ToolArguments, ToolContext, ToolError, ToolOutput, ToolResult
from app.tools.registry import MAX_BLOCKS, MAX_RESULT_CHARACTERS, MAX_TOOLS, ToolProvider, ToolRegistry
from tests.fakes.tools import StaticTools, tool_context
from tests.fakes.virtual_time import VirtualTimeLoop


class EchoArguments(ToolArguments):
    do: str = ""
    times: int = 1


async def echo(arguments: EchoArguments, context: ToolContext) -> ToolOutput:
    match arguments.do:
        case "sleep":
            await asyncio.sleep(1000)
        case "sleep on":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1000)
            await asyncio.sleep(1000)
        case "cancel":
            raise asyncio.CancelledError
        case "time out":
            raise TimeoutError
        case "fail":
            raise ToolError("the warehouse is asleep")
        case "break":
            raise RuntimeError("secret detail")
        case "flood":
            return ToolOutput("x" * 50_000_000, (Text("y" * 50_000_000),) * 99, (Source("z"),) * 99)
        case "half":
            return ToolOutput("\ud83d", (Text("\ud83d"),))
    return ToolOutput(f"{arguments.do} {arguments.times}, {context.seconds_left():g} s left")


ECHO = Tool("echo", "Says it again", EchoArguments, echo, Effect.READ_ONLY, timeout_seconds=1)
REPAIR = Tool("repair", "Changes something", EchoArguments, echo, Effect.NEEDS_APPROVAL)


def result_of(arguments: str, name: str = "echo", *, turn_ends_in: float = 60.0) -> ToolResult:
    async def run() -> ToolResult:
        deadline = asyncio.get_running_loop().time() + turn_ends_in
        return await ToolRegistry([ECHO]).run(ToolCall("1", name, arguments), tool_context(deadline=deadline))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ('{"do": "sleep"}', "did not end within 1 seconds"),
        ('{"do": "sleep on"}', "did not end within 1 seconds"),
        ('{"do": "cancel"}', "was cancelled"),
        ('{"do": "time out"}', "it waits for took too long"),
        ('{"do": "fail"}', "the warehouse is asleep"),
        ('{"do": "break"}', "a reason that is not known"),
        ("{not json", "Invalid JSON"),
        ("[1]", "should be an object"),
        ('{"times": "often"}', "times Input should be a valid integer"),
        ('{"until": 1}', "until Extra inputs are not permitted"),
        ('{"until": null}', "until Extra inputs are not permitted"),
    ],
)
def test_the_model_is_told_why_a_tool_failed(arguments: str, told: str) -> None:
    result = result_of(arguments)
    assert not result.succeeded
    assert told in result.text
    assert "secret detail" not in result.text


def test_the_model_is_told_which_tools_there_are() -> None:
    assert "no tool of that name; there are: echo" in result_of("{}", "nope").text


def test_a_tool_has_no_more_time_than_its_turn() -> None:
    assert result_of("{}").text == " 1, 1 s left"
    assert result_of("{}", turn_ends_in=0.25).text == " 1, 0.25 s left"
    assert "within 0.25 seconds" in result_of('{"do": "sleep"}', turn_ends_in=0.25).text


def test_arguments_that_only_look_wrong_are_taken_and_none_are_the_defaults() -> None:
    assert result_of('{"times": "3"}').text.startswith(" 3")
    assert result_of(" ").text.startswith(" 1")
    assert result_of('{"do": null, "times": null}').text.startswith(" 1"), "langflow-ai/langflow#8059"
    assert result_of('"{\\"times\\": 2}"').text.startswith(" 2"), "quarkiverse/quarkus-langchain4j#2642"
    assert result_of('{"do": "a\nb"}').text.startswith("a\nb"), "openclaw/openclaw#141323"
    assert result_of('{"do": "\\ud800"}').text.startswith("\ufffd")


@given(st.text(st.characters()))
def test_no_arguments_break_a_turn(arguments: str) -> None:
    result_of(arguments).text.encode()
    result_of(f'{{"do": "{arguments}"}}').text.encode()


def test_a_tool_that_floods_is_cut_and_the_model_is_told() -> None:
    result = result_of('{"do": "flood"}')
    assert result.succeeded
    assert len(result.text) < MAX_RESULT_CHARACTERS + 100
    assert "49980000 characters, was left out" in result.text
    assert len(result.blocks) == MAX_BLOCKS
    assert all(isinstance(block, Text) and len(block.text) <= 20_000 for block in result.blocks)


def test_what_cannot_be_stored_is_repaired() -> None:
    result = result_of('{"do": "half"}')
    assert (result.text, result.blocks) == ("\ufffd", (Text("\ufffd"),))


async def test_a_tool_whose_caller_is_cancelled_is_cancelled_first() -> None:
    ended = asyncio.Event()

    async def clean_up(arguments: ToolArguments, context: ToolContext) -> ToolOutput:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            ended.set()
        raise AssertionError

    tool = Tool("wait", "", ToolArguments, clean_up, Effect.READ_ONLY)
    running = asyncio.create_task(ToolRegistry([tool]).run(ToolCall("1", "wait", ""), tool_context()))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()


class Providing:
    def __init__(self, answer: Callable[[Caller], Awaitable[Sequence[AnyTool]]]) -> None:
        self._answer = answer

    async def tools(self, caller: Caller) -> Sequence[AnyTool]:
        return await self._answer(caller)


def test_capabilities_bring_what_the_caller_may_use_and_one_that_fails_takes_nothing_away() -> None:
    async def for_ann(caller: Caller) -> Sequence[AnyTool]:
        return [REPAIR] if caller.name == "Ann" else []

    async def broken(caller: Caller) -> Sequence[AnyTool]:
        raise RuntimeError

    async def slow(caller: Caller) -> Sequence[AnyTool]:
        await asyncio.sleep(1000)
        return []

    providers: list[ToolProvider] = [Providing(broken), StaticTools([ECHO]), Providing(slow), Providing(for_ann)]
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        anns = runner.run(ToolRegistry.for_turn(providers, Caller(name="Ann")))
        others = runner.run(ToolRegistry.for_turn(providers, UNKNOWN_CALLER))
    assert [tool.name for tool in anns.definitions] == ["echo", "repair"]
    assert [tool.name for tool in others.definitions] == ["echo"]


def test_of_too_many_tools_or_two_of_one_name_the_first_are_offered(caplog: pytest.LogCaptureFixture) -> None:
    many = [Tool(f"t{number}", "", EchoArguments, echo, Effect.READ_ONLY) for number in range(MAX_TOOLS + 5)]
    with caplog.at_level(logging.ERROR):
        offered = ToolRegistry([ECHO, ECHO, *many]).definitions
    assert [tool.name for tool in offered] == ["echo", *(tool.name for tool in many[: MAX_TOOLS - 1])]
    assert len(caplog.records) == 7


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "städte"])
def test_a_name_that_endpoints_refuse_is_refused_at_once(name: str) -> None:
    with pytest.raises(ValueError, match="no tool of the name"):
        Tool(name, "", EchoArguments, echo, Effect.READ_ONLY)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("repair", '{"do": "it"}', EchoArguments(do="it")),
        ("repair", '{"do": 1}', None),
        ("echo", "{}", None),
        ("nope", "{}", None),
    ],
)
def test_approval_is_asked_for_valid_calls_that_change_something(name: str, arguments: str, expected: Any) -> None:
    assert ToolRegistry([ECHO, REPAIR]).approval_arguments(ToolCall("1", name, arguments)) == expected
