"""Turns of one conversation keep their order; a repeat is recognised."""

from __future__ import annotations

import asyncio

from app.turns.order import InOrder
from app.turns.seen import Seen


async def test_turns_of_one_conversation_run_one_after_another_in_the_order_they_came() -> None:
    order, running, done = InOrder(), 0, []

    async def turn(number: int) -> None:
        nonlocal running
        async with order.of("ann"):
            running += 1
            assert running == 1
            await asyncio.sleep(0)
            running -= 1
            done.append(number)

    await asyncio.gather(*(turn(number) for number in range(20)))
    assert done == list(range(20))


async def test_another_conversation_is_not_held_up() -> None:
    order = InOrder()
    async with order.of("ann"), asyncio.timeout(1), order.of("bob"):
        pass


async def test_a_turn_that_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    order = InOrder()

    async def wait() -> None:
        async with order.of("ann"):
            raise AssertionError("it was cancelled before its turn")

    async with order.of("ann"):
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with asyncio.timeout(1), order.of("ann"):
        pass


def test_only_the_newest_activities_are_remembered() -> None:
    seen = Seen(most=2)
    assert [seen.first_time(key) for key in "aabca"] == [True, False, True, True, True]
