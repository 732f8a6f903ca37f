"""An answer is kept when the model has ended, however long its end waits for the channel; in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.agent.user_messages import INTERRUPTION_NOTE
from app.bot.channel import COPILOT, TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnState
from tests.fakes.chat import ends_with
from tests.fakes.turn_harness import ANSWER, LEASE, TurnHarness, moments, played, played_at
from tests.turns.test_one_stream import in_streams

SPOKEN = [StoredMessage("user", "How?"), StoredMessage("assistant", ANSWER)]


async def cut_off(harness: TurnHarness, moment: float, seconds: float) -> int:
    """How often other workers ask the model after the first, which speaks for so many seconds, has vanished."""
    first = harness.worker(seconds)
    asking = asyncio.create_task(first.ask())
    await asyncio.sleep(moment)
    first.wire.cut()
    async with ends_with(asking):
        return (await harness.later()).model.asked


@in_streams
def test_a_worker_that_vanishes_while_the_pace_is_waited_for_costs_no_second_model_call(
    channel: Channel, tmp_path: Path
) -> None:
    asked: list[int] = []

    async def script(harness: TurnHarness, moment: float) -> None:
        asked.append(await cut_off(harness, moment, 0.3))

    wrong = {}
    # The model ends after 0.3 s, and the channel takes the end after 1.1 s.
    for moment, harness, kept in played_at(moments(0.36, 0.05, 18), channel, tmp_path, script):
        seen = (asked[-1], list(harness.chat.messages.values()), kept)
        if seen != (0, [ANSWER], (TurnState.ANSWERED, SPOKEN)):
            wrong[moment] = seen
    assert wrong == {}


@in_streams
def test_an_end_is_saved_though_an_update_hangs_in_the_channel(channel: Channel, tmp_path: Path) -> None:
    asked: list[int] = []

    async def script(harness: TurnHarness) -> None:
        take = harness.chat.take

        async def slow(activity: dict[str, Any]) -> str | None:
            if len(harness.chat.streams) and activity["type"] == "typing":
                await asyncio.sleep(10)
            return await take(activity)

        harness.chat.take = slow  # type: ignore[method-assign]
        # The second update hangs from 1.1 s on; the model ends after 2 s.
        asked.append(await cut_off(harness, 2.3, 2.0))

    harness, kept = played(channel, tmp_path, script)
    assert asked == [0]
    assert list(harness.chat.messages.values()) == [ANSWER]
    assert kept == (TurnState.ANSWERED, SPOKEN)


@in_streams
def test_a_third_worker_that_vanishes_while_the_pace_is_waited_for_does_not_give_the_turn_up(
    channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        workers = [harness.worker(4), harness.worker(4), harness.worker(0.3)]
        running = [asyncio.create_task(workers[0].ask())]
        await asyncio.sleep(1)
        for worker, before in zip(workers[1:], workers, strict=False):
            before.wire.cut()
            await asyncio.sleep(LEASE + 2)
            running.append(asyncio.create_task(worker.resume(await harness.take_message())))
            await asyncio.sleep(0.8)
        workers[-1].wire.cut()
        async with ends_with(*running):
            assert (await harness.later()).model.asked == 0

    harness, (state, _) = played(channel, tmp_path, script)
    (answer,) = harness.chat.messages.values()
    assert "".join(answer.replace(INTERRUPTION_NOTE.english, "").split()) == "".join(ANSWER.split())
    assert state is TurnState.ANSWERED


@pytest.mark.parametrize(
    ("channel", "seconds", "writes"),
    [
        # What is about to be posted; of a stream, its opening before and after, and its end.
        (TEAMS_GROUP, 0.02, 1), (TEAMS_PERSONAL, 0.02, 1), (COPILOT, 0.02, 1),
        (TEAMS_PERSONAL, 0.5, 3), (COPILOT, 0.5, 3),
    ],
)  # fmt: skip
def test_to_keep_the_end_costs_no_write_more(channel: Channel, seconds: float, writes: int, tmp_path: Path) -> None:
    made = 0

    async def script(harness: TurnHarness) -> None:
        change = harness.store.change

        async def counted(*arguments: Any) -> Any:
            nonlocal made
            made += 1
            return await change(*arguments)

        harness.store.change = counted  # type: ignore[method-assign,assignment]
        await harness.worker(seconds).ask()

    harness, _ = played(channel, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER]
    assert made <= writes
