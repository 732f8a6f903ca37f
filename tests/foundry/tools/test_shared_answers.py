"""Equal calls share one, and its answer for a while; nobody's leaving takes it from another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from app.common.cancellation import Cancellation, CancelReason
from app.foundry.tools import shared_answers
from app.foundry.tools.foundry_tool import FailedCallError, ToolCallContext
from app.foundry.tools.shared_answers import SharedAnswers


class Work:
    """Ends when it is told to, and counts how often it was begun."""

    def __init__(self) -> None:
        self.begun: list[ToolCallContext] = []
        self.ended = asyncio.Event()
        self.cancelled: list[CancelReason | None] = []

    async def __call__(self, context: ToolCallContext) -> str:
        self.begun.append(context)
        try:
            await self.ended.wait()
        except asyncio.CancelledError:
            assert context.cancellation is not None
            self.cancelled.append(context.cancellation.reason)
            raise
        return f"answer {len(self.begun)}"


def call(
    shared: SharedAnswers, work: Callable[[ToolCallContext], Coroutine[Any, Any, str]], **more: Any
) -> asyncio.Task[str]:
    return asyncio.create_task(shared.answer("key", ToolCallContext("call", **more), work))


async def test_calls_at_the_same_time_and_shortly_after_share_one_answer() -> None:
    work, shared = Work(), SharedAnswers(60)
    calls = [call(shared, work) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.ended.set()
    assert await asyncio.gather(*calls) == ["answer 1"] * 3
    assert await call(shared, work) == "answer 1"
    assert await shared.answer("another key", ToolCallContext("call"), work) == "answer 2"


async def test_after_its_time_an_answer_is_given_no_more() -> None:
    work, shared = Work(), SharedAnswers(0.001)
    work.ended.set()
    assert await call(shared, work) == "answer 1"
    await asyncio.sleep(0.005)
    assert await call(shared, work) == "answer 2"


async def test_with_no_time_each_call_asks() -> None:
    work, shared = Work(), SharedAnswers(0)
    work.ended.set()
    await asyncio.gather(call(shared, work), call(shared, work))
    assert len(work.begun) == 2


async def test_a_failure_is_shared_and_not_kept() -> None:
    shared, asked = SharedAnswers(60), 0

    async def fails(_: ToolCallContext) -> str:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise ValueError("gone")

    outcomes = await asyncio.gather(call(shared, fails), call(shared, fails), return_exceptions=True)
    assert [str(each) for each in outcomes] == ["gone", "gone"]
    with pytest.raises(ValueError, match="gone"):
        await call(shared, fails)
    assert asked == 2


@pytest.mark.parametrize(("first", "second", "begun"), [(1, 300, 2), (300, 1, 1), (300, 900, 1)])
async def test_a_call_with_more_time_than_the_one_that_it_shares_asks_anew_when_that_is_over(
    first: float, second: float, begun: int
) -> None:
    shared, contexts = SharedAnswers(60), list[ToolCallContext]()

    async def fails_once(context: ToolCallContext) -> str:
        contexts.append(context)
        await asyncio.sleep(0.001)
        if len(contexts) == 1:
            raise FailedCallError("too long")
        return "in time"

    now = asyncio.get_running_loop().time()
    calls = [call(shared, fails_once, deadline=now + seconds) for seconds in (first, second)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(each) for each in outcomes] == ["too long", "in time" if begun == 2 else "too long"]
    assert [each.deadline - now for each in contexts] == pytest.approx([first, second][:begun])


async def test_who_leaves_takes_the_answer_from_nobody_else() -> None:
    work, shared = Work(), SharedAnswers(60)
    first, second = call(shared, work), call(shared, work)
    await asyncio.sleep(0.001)
    first.cancel()
    await asyncio.wait({first})
    work.ended.set()
    assert await second == "answer 1"
    assert first.cancelled()
    assert not work.cancelled


async def test_when_all_have_left_the_work_ends_and_knows_why_and_the_next_call_begins_anew() -> None:
    work, shared = Work(), SharedAnswers(60)
    handed_over = Cancellation()
    only = call(shared, work, cancellation=handed_over)
    await asyncio.sleep(0.001)
    handed_over.cancel(CancelReason.HANDED_OVER)
    only.cancel()
    await asyncio.wait({only})
    assert work.cancelled == [CancelReason.HANDED_OVER]
    work.ended.set()
    assert await call(shared, work) == "answer 2"


async def test_a_call_that_comes_while_the_last_one_ends_begins_anew() -> None:
    shared, begun, may_end = SharedAnswers(60), list[ToolCallContext](), asyncio.Event()

    async def ends_slowly(context: ToolCallContext) -> str:
        begun.append(context)
        if len(begun) > 1:
            return "anew"
        try:
            await asyncio.sleep(60)
        finally:
            await may_end.wait()
        return ""

    first = call(shared, ends_slowly)
    await asyncio.sleep(0.001)
    first.cancel()
    await asyncio.sleep(0.001)
    second = call(shared, ends_slowly)
    await asyncio.sleep(0.001)
    may_end.set()
    assert await second == "anew"
    await asyncio.wait({first})


async def test_all_who_wait_hear_of_the_progress() -> None:
    shared, heard = SharedAnswers(60), list[str]()
    said = asyncio.Event()

    async def works(context: ToolCallContext) -> str:
        await said.wait()
        context.progress("Writing SQL")
        return ""

    calls = [call(shared, works, progress=lambda line, n=n: heard.append(f"{n}: {line}")) for n in range(2)]
    await asyncio.sleep(0.001)
    said.set()
    await asyncio.gather(*calls)
    assert sorted(heard) == ["0: Writing SQL", "1: Writing SQL"]


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_answers, "_MAX_KEPT", 3)
    monkeypatch.setattr(shared_answers, "_MAX_KEPT_CHARACTERS", 10)
    shared, asked = SharedAnswers(60), list[str]()

    async def answer(key: str, text: str) -> None:
        async def work(_: ToolCallContext) -> str:
            asked.append(key)
            return text

        await shared.answer(key, ToolCallContext("call"), work)

    for key in "abcd":
        await answer(key, "x")
    await answer("a", "x")
    await answer("d", "x")
    assert asked == ["a", "b", "c", "d", "a"], "the oldest has gone"
    await answer("long", "x" * 10)
    await answer("a", "x")
    assert asked[-2:] == ["long", "a"], "a long one takes the place of all"
