"""Who waits for an earlier turn hears at once of one that ends in the same worker."""

from __future__ import annotations

import asyncio

from app.turns.ordering import TurnCompletionEvents
from tests.fakes.virtual_time import VirtualTimeLoop


def test_who_waits_hears_at_once_when_a_turn_of_the_conversation_ends() -> None:
    async def script() -> float:
        endings, loop = TurnCompletionEvents(), asyncio.get_running_loop()
        started = loop.time()
        loop.call_later(1.5, endings.ended, "ann")
        await asyncio.gather(endings.next("ann", within=60), endings.next("ann", within=60))
        return loop.time() - started

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        assert virtual.run(script()) == 1.5


def test_the_end_of_another_conversations_turn_wakes_nobody() -> None:
    async def script() -> float:
        endings, loop = TurnCompletionEvents(), asyncio.get_running_loop()
        started = loop.time()
        loop.call_later(1.5, endings.ended, "bob")
        await endings.next("ann", within=4)
        return loop.time() - started

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        assert virtual.run(script()) == 4


async def test_nothing_is_kept_for_conversations_that_nobody_waits_for() -> None:
    endings = TurnCompletionEvents()
    await endings.next("ann", within=0)
    waiting = asyncio.create_task(endings.next("bob", within=60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    endings.ended("carol")
    assert vars(endings) == {"_awaited": {}}
