"""Who waits for an earlier turn hears at once of one that ends in the same worker."""

from __future__ import annotations

import asyncio

from app.turns.ordering import TurnCompletionEvents
from tests.fakes.virtual_time import VirtualTimeLoop


def test_who_waits_hears_at_once_when_a_turn_of_the_conversation_ends() -> None:
    async def script() -> float:
        completions, loop = TurnCompletionEvents(), asyncio.get_running_loop()
        started = loop.time()
        loop.call_later(1.5, completions.notify, "ann")
        await asyncio.gather(completions.wait("ann", timeout=60), completions.wait("ann", timeout=60))
        return loop.time() - started

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        assert virtual.run(script()) == 1.5


def test_the_end_of_another_conversations_turn_wakes_nobody() -> None:
    async def script() -> float:
        completions, loop = TurnCompletionEvents(), asyncio.get_running_loop()
        started = loop.time()
        loop.call_later(1.5, completions.notify, "bob")
        await completions.wait("ann", timeout=4)
        return loop.time() - started

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as virtual:
        assert virtual.run(script()) == 4


async def test_nothing_is_kept_for_conversations_that_nobody_waits_for() -> None:
    completions = TurnCompletionEvents()
    await completions.wait("ann", timeout=0)
    waiting = asyncio.create_task(completions.wait("bob", timeout=60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    completions.notify("carol")
    assert vars(completions) == {"_waiters": {}}
