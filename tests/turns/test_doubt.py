"""Where nobody knows whether a message arrived: what may stand there twice is marked, and nothing else does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.bot.channel import COPILOT, TEAMS_GROUP
from app.bot.connector.send_errors import DeliveryUnknownError, NotDeliveredError, ThrottledError
from app.bot.replies.parts_delivery import SENT_AGAIN
from app.storage.ledger import TurnState
from app.storage.storage_errors import StorageError
from tests.fakes.chat import ends_with
from tests.fakes.turn_harness import ANSWER, LEASE, TurnHarness, now, played

MARKED = f"{ANSWER}\n\n{SENT_AGAIN.english}"


def answered(harness: TurnHarness, *answers: str) -> None:
    """The channel's to the ends that it gets, one after the other: `lost` means taken, and answered with an error."""
    take, left = harness.chat.take, list(answers)

    async def taken(activity: dict[str, Any]) -> str | None:
        is_the_end = activity["type"] == "message"
        match left.pop(0) if is_the_end and left else "taken":
            case "lost":
                await take(activity)
                raise DeliveryUnknownError("HTTP 500")
            case "nowhere":
                raise DeliveryUnknownError("HTTP 502")
            case "429":
                raise ThrottledError("HTTP 429")
            case "away":
                raise NotDeliveredError("no connection")
        return await take(activity)

    harness.chat.take = taken  # type: ignore[method-assign]


@pytest.mark.parametrize("then", ["429", "away"])
def test_a_second_copy_is_marked_though_the_try_before_it_was_certainly_refused(then: str, tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        answered(harness, "lost", then)
        await harness.worker().ask()
        await harness.later()

    harness, (state, _) = played(TEAMS_GROUP, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER, MARKED]
    assert state is TurnState.ANSWERED


def test_a_message_that_was_certainly_not_taken_is_no_second_copy(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        answered(harness, "429")
        await harness.worker().ask()
        await harness.later()

    harness, _ = played(TEAMS_GROUP, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER]


@pytest.mark.parametrize("refusals", [1, 3, 9])
def test_the_end_of_a_stream_that_perhaps_arrived_is_never_said_in_another_way(refusals: int, tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        answered(harness, "lost", *["429"] * refusals)
        await harness.worker().ask()
        await harness.later()

    harness, (state, _) = played(COPILOT, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER]
    assert state is TurnState.ANSWERED


def test_a_worker_that_stalled_between_two_tries_does_not_send_again_what_another_has_sent(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        answered(harness, "nowhere")
        first = harness.worker()
        asking = asyncio.create_task(first.ask())
        await asyncio.sleep(5.5)
        first.wire.cut()
        asyncio.get_running_loop().call_later(2 * LEASE, first.wire.join)
        async with ends_with(asking):
            await harness.later()

    harness, _ = played(TEAMS_GROUP, tmp_path, script)
    assert list(harness.chat.messages.values()) == [MARKED]


def test_an_answer_that_stands_there_is_not_sent_again_because_storage_was_away_for_longer_than_a_lease(
    tmp_path: Path,
) -> None:
    async def script(harness: TurnHarness) -> None:
        end, back_at = harness.store.end, now() + 4 + 35

        async def away(*arguments: Any, **named: Any) -> None:
            if now() < back_at:
                raise StorageError("ServerBusy")
            await end(*arguments, **named)

        harness.store.end = away  # type: ignore[method-assign]
        asking = asyncio.create_task(harness.worker().ask())
        await harness.later()
        await asking

    harness, (state, memory) = played(TEAMS_GROUP, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER]
    assert state is TurnState.ANSWERED
    assert len(memory) == 2
