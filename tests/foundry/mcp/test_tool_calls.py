from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from app.foundry.mcp.tool_calls import CallResult, ToolCalls
from app.foundry.requests.tool_request import KeptValue, OpenRequest, ToolRequest
from app.storage.storage_errors import StorageError
from app.turns.reply import UndeliveredError
from tests.fakes.virtual_time import VirtualTimeLoop
from tests.foundry.mcp.served_mcp import MemoryRequests, Weather, ready

OSLO = {"query": "Oslo"}


def in_virtual_time(test: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(test)


def handle_in(result: CallResult) -> str:
    assert not result.failed
    return result.text.partition("the handle ")[2].partition(" ")[0]


def test_any_worker_knows_what_came_of_a_call_that_took_longer_than_fifty_seconds() -> None:
    async def test() -> None:
        tool, clock = Weather(), asyncio.get_running_loop().time
        requests = MemoryRequests(tool)
        one, another = (ToolCalls([tool], requests, now=lambda: 7.0) for _ in range(2))
        began = clock()
        handle = handle_in(begun := await one.call("weather", OSLO, "00-a-b-01"))
        assert "it is being worked on (Asking the satellites)." in begun.text
        assert clock() - began == 50
        assert requests.requests[0].inserted_at == 7
        assert handle_in(await another.result_of(handle)) == handle
        assert 90 < clock() - began <= 100
        asyncio.get_running_loop().call_later(5, tool.go_on.set)
        waited = clock()
        both = await asyncio.gather(one.result_of(handle), another.result_of(handle))
        assert [each.text for each in both] == ["Sunny in Oslo", "Sunny in Oslo"]
        assert 5 <= clock() - waited < 10
        assert len(requests.requests) == 1
        assert requests.found < 25

    in_virtual_time(test())


@pytest.mark.parametrize(
    "handle", ["", "weather", "weather." + "0" * 32, "nothing." + "0" * 32, "x" * 10_000, "weather.."]
)
async def test_a_handle_that_nobody_has_given_out_is_refused(handle: str) -> None:
    result = await ToolCalls([ready()], MemoryRequests()).result_of(handle)
    assert (result.failed, result.text[:38]) == (True, "There is no result of that handle. Cal")


def test_who_waits_at_a_worker_that_ends_is_told_so_at_once() -> None:
    async def test() -> None:
        requests, clock = MemoryRequests(), asyncio.get_running_loop().time
        handle = "weather." + "0" * 32
        requests.kept["weather", handle] = OpenRequest()
        calls = ToolCalls([Weather()], requests)
        began, waiting = clock(), asyncio.create_task(calls.result_of(handle))
        await asyncio.sleep(10.5)
        await calls.close()
        assert handle_in(await waiting) == handle
        assert clock() - began == 10.5

    in_virtual_time(test())


def test_a_handle_is_known_while_its_call_is_being_recorded() -> None:
    class SlowStorage(MemoryRequests):
        async def answer(self, request: ToolRequest, *, progress: Callable[[str], None]) -> KeptValue | None:
            await asyncio.sleep(150)
            return await super().answer(request, progress=progress)

    async def test() -> None:
        calls = ToolCalls([tool := ready()], SlowStorage(tool))
        handle = handle_in(await calls.call("weather", OSLO, None))
        assert handle_in(await calls.result_of(handle)) == handle
        assert await calls.result_of(handle) == CallResult("Sunny in Oslo")

    in_virtual_time(test())


async def test_a_worker_that_ends_hands_the_call_over_and_says_how_to_get_its_result() -> None:
    tool = Weather()
    requests = MemoryRequests(tool)
    calls = ToolCalls([tool], requests)
    calling = asyncio.create_task(calls.call("weather", OSLO, None))
    while not tool.calls:  # noqa: ASYNC110 - it happens in a task of the code under test
        await asyncio.sleep(0)
    await calls.close()
    handle = handle_in(await calling)
    assert requests.kept == {("weather", handle): OpenRequest()}
    # What another worker does with it.
    for failed in (False, True):
        requests.kept["weather", handle] = KeptValue("Rain", failed)
        assert await ToolCalls([tool], requests).result_of(handle) == CallResult("Rain", failed)


@pytest.mark.parametrize(
    ("failure", "words", "is_logged"),
    [
        (StorageError(), "could not be recorded", True),
        (ValueError("a secret"), "unexpected went wrong. Call again. (error id ", True),
        (UndeliveredError(), "Call get_result with the handle weather.", False),
    ],
)
async def test_a_call_that_fails_is_a_sentence(
    caplog: pytest.LogCaptureFixture, failure: Exception, words: str, is_logged: bool
) -> None:
    requests = MemoryRequests()
    requests.fails_with = failure
    result = await ToolCalls([ready()], requests).call("weather", OSLO, None)
    assert words in result.text
    assert "secret" not in result.text
    assert result.failed is is_logged
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == is_logged


@pytest.mark.parametrize(
    ("failure", "words"),
    [(StorageError(), "Call get_result again"), (ValueError("a secret"), "Call again. (error id ")],
)
async def test_a_result_that_cannot_be_read_now_is_asked_for_again(failure: Exception, words: str) -> None:
    requests = MemoryRequests()
    requests.fails_with = failure
    result = await ToolCalls([ready()], requests).result_of("weather." + "0" * 32)
    assert (result.failed, words in result.text) == (True, True)
    assert "secret" not in result.text


async def test_calls_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.foundry.mcp.tool_calls._MAX_OPEN", 2)
    monkeypatch.setattr("app.foundry.mcp.tool_calls._WAIT_SECONDS", 0)
    tool = Weather()
    calls = ToolCalls([tool], MemoryRequests(tool))
    results = [await calls.call("weather", OSLO, None) for _ in range(3)]
    tool.go_on.set()
    await asyncio.sleep(0.01)
    results.append(await calls.call("weather", OSLO, None))
    assert [result.failed for result in results] == [False, False, True, False]
    assert "Too many calls" in results[2].text
    await calls.close()


def test_calls_that_wait_leave_the_hosts_other_requests_to_people() -> None:
    async def test() -> None:
        tool = Weather()
        calls, clock = ToolCalls([tool], MemoryRequests(tool)), asyncio.get_running_loop().time
        began = clock()
        waiting = [asyncio.create_task(calls.call("weather", OSLO, None)) for _ in range(30)]
        await asyncio.sleep(1)
        handle = handle_in(await calls.call("weather", OSLO, None))
        assert handle_in(await calls.result_of(handle)) == handle
        assert clock() - began == 1
        tool.go_on.set()
        assert await asyncio.gather(*waiting) == [CallResult("Sunny in Oslo")] * 30
        assert await calls.result_of(handle) == CallResult("Sunny in Oslo")

    in_virtual_time(test())
