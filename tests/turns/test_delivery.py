"""A channel that takes nothing for a while, a turn that nobody brings to its end, and who waits for whom."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.agent.user_messages import GIVEN_UP
from app.bot.channel import COPILOT, TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.bot.connector.send_errors import DeliveryUnknownError, NotDeliveredError, ThrottledError
from app.bot.replies.parts_delivery import SENT_AGAIN
from app.storage.conversations import StoredMessage
from app.storage.ledger import TurnState
from app.turns.queue_message import TurnMessage
from app.turns.reply import UndeliveredError
from tests.fakes.chat import ends_with
from tests.fakes.turn_harness import ANN, ANSWER, LEASE, TurnHarness, now, plain, played

CHANNELS = [TEAMS_PERSONAL, COPILOT, TEAMS_GROUP]


def is_the_end(activity: dict[str, Any]) -> bool:
    return bool(activity["type"] == "message")


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_a_channel_that_is_away_gets_the_answer_later_without_the_model_being_asked_again(
    channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        loop = asyncio.get_running_loop()
        back_at = loop.time() + 40
        harness.chat.refuses = lambda activity: (
            NotDeliveredError("away") if is_the_end(activity) and loop.time() < back_at else None
        )
        first = harness.worker()
        await first.ask()
        assert harness.chat.messages == {}
        other = await harness.later()
        assert first.model.asked == 1
        assert other.model.asked == 0

    harness, (state, memory) = played(channel, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER]
    assert state is TurnState.ANSWERED
    assert memory == [StoredMessage("user", "How?"), StoredMessage("assistant", ANSWER)]


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_a_channel_that_never_comes_back_is_given_up_after_ten_minutes_or_so(channel: Channel, tmp_path: Path) -> None:
    attempt_count = []

    async def script(harness: TurnHarness) -> None:
        def away(activity: dict[str, Any]) -> Exception | None:
            attempt_count.append(activity)
            return NotDeliveredError("away")

        harness.chat.refuses = away
        await harness.worker().ask()
        with pytest.raises(UndeliveredError):
            await harness.later(1200)

    _, (state, memory) = played(channel, tmp_path, script)
    assert state is TurnState.FAILED
    assert memory == []
    assert len([activity for activity in attempt_count if is_the_end(activity)]) >= 6


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_after_three_workers_have_vanished_the_person_is_told_with_an_error_id(
    channel: Channel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(harness: TurnHarness) -> None:
        workers = [harness.worker() for _ in range(3)]
        running = [asyncio.create_task(workers[0].ask())]
        await asyncio.sleep(0.5)
        for worker, before in zip(workers[1:], workers, strict=False):
            before.wire.cut()
            await asyncio.sleep(LEASE + 2)
            running.append(asyncio.create_task(worker.resume(await harness.take_message())))
            await asyncio.sleep(0.5)
        workers[-1].wire.cut()
        async with ends_with(*running):
            await harness.later()

    harness, (state, _) = played(channel, tmp_path, script)
    (told,) = harness.chat.messages.values()
    assert GIVEN_UP.english in told
    assert state is TurnState.FAILED
    error_id = told.partition("error id: ")[2].rstrip(").*_ \n")
    assert len(error_id) == 8
    assert f"Turn failed, error id {error_id}" in caplog.text


def test_a_message_that_the_channel_does_not_confirm_is_sent_again_and_says_so(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        answers = [DeliveryUnknownError("HTTP 500"), None, None]
        harness.chat.refuses = lambda activity: answers.pop(0) if is_the_end(activity) else None
        await harness.worker().ask()

    harness, (state, memory) = played(TEAMS_GROUP, tmp_path, script)
    assert list(harness.chat.messages.values()) == [f"{ANSWER}\n\n{SENT_AGAIN.english}"]
    assert state is TurnState.ANSWERED
    assert memory[-1].text == ANSWER, "the note is for the person, not for the memory"


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_a_question_waits_for_the_one_before_it_at_another_worker(channel: Channel, tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        first, second = harness.worker(seconds=20), harness.worker(seconds=2)
        one = asyncio.create_task(first.ask("How?", "1"))
        await asyncio.sleep(1)
        two = asyncio.create_task(second.ask("And then?", "2"))
        await asyncio.gather(one, two)
        memory = await harness.store.recent(ANN, 9)
        assert [message.text for message in memory] == ["How?", ANSWER, "And then?", ANSWER]

    harness, _ = played(channel, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER, ANSWER]


def test_a_question_waits_for_one_whose_worker_vanished_and_keeps_its_place(tmp_path: Path) -> None:
    async def script(harness: TurnHarness) -> None:
        first, second = harness.worker(seconds=20), harness.worker(seconds=1)
        one = asyncio.create_task(first.ask("How?", "1"))
        await asyncio.sleep(1)
        two = asyncio.create_task(second.ask("And then?", "2"))
        await asyncio.sleep(1)
        first.wire.cut()
        async with ends_with(one):
            await asyncio.gather(two, harness.later(120))
        memory = await harness.store.recent(ANN, 9)
        assert [message.text for message in memory if message.role == "user"] == ["How?", "And then?"]

    harness, _ = played(TEAMS_GROUP, tmp_path, script)
    assert [plain(text) for text in harness.chat.messages.values()] == [ANSWER, ANSWER]


def test_a_turn_that_nobody_will_ever_end_holds_its_conversation_up_for_three_minutes_at_most(tmp_path: Path) -> None:
    waited = 0.0

    async def script(harness: TurnHarness) -> None:
        nonlocal waited
        loop = asyncio.get_running_loop()
        first, second = harness.worker(seconds=20), harness.worker(seconds=1)
        one = asyncio.create_task(first.ask("How?", "1"))
        await asyncio.sleep(1)
        first.wire.cut()
        receiver = harness.store.queue("turns")
        started = loop.time()
        async with ends_with(one):
            two = asyncio.create_task(second.ask("And then?", "2"))
            while not harness.chat.messages and loop.time() - started < 300:
                for taken in await receiver.receive(9, visibility_timeout=600):
                    # The message of the first is lost, which no part of this does.
                    if TurnMessage.from_json(taken.body).key.activity_id == "2":
                        await second.resume(taken.body)
                    await receiver.delete(taken.receipt)
                await asyncio.sleep(1)
            await two
        waited = loop.time() - started

    harness, _ = played(TEAMS_GROUP, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER]
    assert LEASE < waited < 200


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT], ids=lambda channel: channel.name)
def test_an_end_that_arrived_unseen_is_not_said_again_however_little_was_streamed_before_it(
    channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        first, delivered = harness.worker(), False

        def busy(activity: dict[str, Any]) -> Exception | None:
            nonlocal delivered
            infos = [entity for entity in activity.get("entities", ()) if entity["type"] == "streaminfo"]
            if infos and infos[0]["streamType"] == "final":
                first.wire.cut()
                delivered = True
            return ThrottledError("busy") if infos and infos[0]["streamType"] == "streaming" and not delivered else None

        harness.chat.refuses = busy
        asking = asyncio.create_task(first.ask())
        async with ends_with(asking):
            await harness.later()

    harness, (state, _) = played(channel, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER]
    assert state is TurnState.ANSWERED


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT], ids=lambda channel: channel.name)
def test_a_stream_whose_end_is_throttled_is_ended_later_and_not_left_open_beside_a_message(
    channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness) -> None:
        until = now() + 10
        harness.chat.refuses = lambda activity: (
            ThrottledError("busy") if now() < until and activity["type"] == "message" else None
        )
        await harness.worker(3.0).ask()
        assert harness.chat.messages == {}
        await harness.later()

    harness, (state, _) = played(channel, tmp_path, script)
    assert harness.chat.messages == {"s0": ANSWER}
    assert state is TurnState.ANSWERED
