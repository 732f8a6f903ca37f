"""A worker vanishes, stalls or stops at any moment of a turn: the person has one whole answer in the end, never two.

All in virtual time, on the real store and queue; the worker is cut off from them and from the chat.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.bot.channel import COPILOT, TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.bot.replies.parts_delivery import SENT_AGAIN
from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnKey, TurnState
from app.storage.storage_errors import StorageError
from tests.fakes.chat import ends_with
from tests.fakes.turn_harness import ANN, ANSWER, TurnHarness, plain, played_at


def assert_answered_once(harness: TurnHarness, kept: Any) -> None:
    shown = [plain(text) for text in harness.chat.messages.values()]
    assert [text for text in shown if SENT_AGAIN.english not in text] in ([ANSWER], []), shown
    again = [text for text in shown if SENT_AGAIN.english in text]
    assert len(shown) >= 1
    assert all(text.startswith(ANSWER) for text in again)
    assert len(again) <= 1
    if harness.channel.streaming is not None:
        assert shown == [ANSWER], "a stream's end cannot be doubtful"
        assert harness.chat.left_open == []
    state, memory = kept
    assert state is TurnState.ANSWERED
    assert [StoredMessage(m.role, plain(m.text), m.complete) for m in memory] == [
        StoredMessage("user", "How?"),
        StoredMessage("assistant", ANSWER),
    ]


CHANNELS = [TEAMS_PERSONAL, COPILOT, TEAMS_GROUP]
# From before anything is stored to after all is.
MOMENTS = [round(0.001 + 0.0075 * n, 4) for n in range(12)] + [round(0.2 + 0.067 * n, 3) for n in range(80)]
SOME = pytest.param(MOMENTS[3::11], id="at some moments")
ALL = pytest.param(MOMENTS, id="at all moments", marks=pytest.mark.slow)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("moments", [SOME, ALL])
def test_a_worker_that_vanishes_at_any_moment_leaves_a_turn_that_another_ends(
    channel: Channel, moments: list[float], tmp_path: Path
) -> None:
    async def script(harness: TurnHarness, moment: float) -> None:
        first = harness.worker()
        asking = asyncio.create_task(first.ask())
        await asyncio.sleep(moment)
        first.wire.cut()
        async with ends_with(asking):
            await harness.later()
            # Teams repeats what was not acknowledged; so does who was not entered at all.
            again = harness.worker()
            await again.ask()
            await harness.later()

    for _, harness, kept in played_at(moments, channel, tmp_path, script):
        assert_answered_once(harness, kept)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("stalls_for", [20.0, 45.0])
@pytest.mark.parametrize("moments", [SOME, ALL])
def test_a_worker_that_stalls_says_nothing_in_a_turn_that_another_has_taken(
    channel: Channel, moments: list[float], stalls_for: float, tmp_path: Path
) -> None:
    told: list[BaseException | None] = []

    async def script(harness: TurnHarness, moment: float) -> None:
        first = harness.worker()
        asking = asyncio.create_task(first.ask())
        loop = asyncio.get_running_loop()
        loop.call_later(moment, first.wire.cut)
        loop.call_later(moment + stalls_for, first.wire.join)
        await harness.later()
        await asyncio.wait([asking])
        told.append(asking.exception())

    for _, harness, kept in played_at(moments, channel, tmp_path, script):
        if isinstance(told[-1], StorageError) and not harness.chat.messages:
            # Nothing was entered, and the person is told so.
            assert kept == (None, [])
        else:
            assert_answered_once(harness, kept)


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("moments", [SOME, ALL])
def test_a_worker_that_is_told_to_stop_hands_over_at_once(
    channel: Channel, moments: list[float], tmp_path: Path
) -> None:
    seconds = 0.0

    async def script(harness: TurnHarness, moment: float) -> None:
        nonlocal seconds
        first = harness.worker()
        asking = asyncio.create_task(first.ask())
        await asyncio.sleep(moment)
        asking.cancel()
        started = asyncio.get_running_loop().time()
        await asyncio.wait([asking])
        seconds = asyncio.get_running_loop().time() - started
        if not await harness.store.find(TurnKey(ANN, "1")):
            # Nothing was entered yet, and so nothing acknowledged: Teams sends it again.
            await harness.worker().ask()
        await harness.later(20.0, every=0.2)

    for _, harness, kept in played_at(moments, channel, tmp_path, script):
        assert_answered_once(harness, kept)
        assert seconds < 4.5
