"""A worker vanishes in a long answer, in a short one, with a command, with another before it: nothing is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.agent.user_messages import INTERRUPTION_NOTE
from app.bot.channel import COPILOT, TEAMS_GROUP, TEAMS_PERSONAL, Channel
from app.bot.connector.send_errors import NotDeliveredError
from app.bot.replies.parts_delivery import SENT_AGAIN
from tests.fakes.chat import ends_with
from tests.fakes.turn_harness import ANSWER, LEASE, TurnHarness, moments, plain, played, played_at, vanishing

STREAMS = [TEAMS_PERSONAL, COPILOT]


def named(channel: Channel) -> str:
    return channel.name


@pytest.mark.parametrize("channel", STREAMS, ids=named)
def test_an_answer_that_came_at_once_is_not_said_again_when_its_worker_vanishes(
    channel: Channel, tmp_path: Path
) -> None:
    async def script(harness: TurnHarness, moment: float) -> None:
        await vanishing(harness, moment, 0.02)

    twice = {}
    for moment, harness, _ in played_at(moments(0.9, 0.01, 40), channel, tmp_path, script):
        shown = [plain(text) for text in harness.chat.messages.values()]
        if shown != [ANSWER]:
            twice[moment] = shown
    assert twice == {}


@pytest.mark.parametrize("channel", STREAMS, ids=named)
def test_an_answer_in_several_messages_is_whole_whenever_its_worker_vanishes(channel: Channel, tmp_path: Path) -> None:
    async def script(harness: TurnHarness, moment: float) -> None:
        await vanishing(harness, moment, 1.5)

    wrong = {}
    small = replace(channel, text_limit_utf16=40)
    for moment, harness, _ in played_at(moments(0.3, 0.04, 70), small, tmp_path, script):
        said = " ".join(
            plain(text).strip() for text in harness.chat.messages.values() if SENT_AGAIN.english not in text
        )
        twice = len([text for text in harness.chat.messages.values() if SENT_AGAIN.english in text])
        hanging = len([s for s in harness.chat.streams.values() if not s.ended])
        if (said.split() != ANSWER.split() and twice == 0) or twice > 1 or hanging > 0:
            wrong[moment] = (list(harness.chat.messages.values()), hanging)
    assert wrong == {}


@pytest.mark.parametrize("channel", [*STREAMS, TEAMS_GROUP], ids=named)
def test_a_command_is_not_remembered_because_its_worker_vanished(channel: Channel, tmp_path: Path) -> None:
    async def script(harness: TurnHarness, moment: float) -> None:
        await vanishing(harness, moment, 0.02, "/forget")

    played_all = played_at(moments(0.004, 0.01, 30), channel, tmp_path, script)
    assert {moment: memory for moment, _, (_, memory) in played_all if memory} == {}


@pytest.mark.parametrize("channel", [*STREAMS, TEAMS_GROUP], ids=named)
def test_two_workers_vanish_and_the_model_is_told_only_what_it_said(channel: Channel, tmp_path: Path) -> None:
    """`Knows` asserts that the part it is asked to go on with is a part of its answer."""

    async def script(harness: TurnHarness, moment: float) -> None:
        one, two = harness.worker(), harness.worker()
        asking = asyncio.create_task(one.ask())
        await asyncio.sleep(0.12)
        one.wire.cut()
        await asyncio.sleep(LEASE + 2)
        going = asyncio.create_task(two.resume(await harness.take_message()))
        await asyncio.sleep(moment)
        two.wire.cut()
        async with ends_with(asking, going):
            await harness.later()

    wrong = {}
    for moment, harness, _ in played_at(moments(0.02, 0.05, 60), channel, tmp_path, script):
        shown = [plain(text) for text in harness.chat.messages.values() if SENT_AGAIN.english not in text]
        if shown not in ([ANSWER], []):
            wrong[moment] = list(harness.chat.messages.values())
    assert wrong == {}


def early(seconds: float) -> Channel:
    return replace(COPILOT, streaming=replace(cast(Any, COPILOT.streaming), closes_after_seconds=seconds))


def test_copilot_shows_no_part_twice_when_a_worker_vanishes_as_the_stream_is_closed(tmp_path: Path) -> None:
    async def script(harness: TurnHarness, moment: float) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        harness.chat.refuses = lambda activity: (
            NotDeliveredError("away") if activity["type"] == "typing" and 1.5 < loop.time() - start < 2.95 else None
        )
        await vanishing(harness, moment, 5)

    wrong = {}
    for moment, harness, _ in played_at(moments(1.5, 0.05, 60), early(3.0), tmp_path, script):
        said = " ".join(harness.chat.messages.values())
        for note in ("*(The answer continues in the next message.)*", INTERRUPTION_NOTE.english, SENT_AGAIN.english):
            said = said.replace(note, " ")
        if said.split() != ANSWER.split():
            wrong[moment] = list(harness.chat.messages.values())
    assert wrong == {}


@pytest.mark.parametrize("channel", STREAMS, ids=named)
def test_an_end_that_was_written_down_stays_so_when_the_next_worker_vanishes_too(
    channel: Channel, tmp_path: Path
) -> None:
    asked: list[int] = []

    async def script(harness: TurnHarness, moment: float) -> None:
        one, two = harness.worker(0.3), harness.worker()
        asking = asyncio.create_task(one.ask())
        # The model has ended, and the channel's pace is waited for.
        await asyncio.sleep(0.8)
        one.wire.cut()
        await asyncio.sleep(LEASE + 2)
        going = asyncio.create_task(two.resume(await harness.take_message()))
        await asyncio.sleep(moment)
        two.wire.cut()
        async with ends_with(asking, going):
            three = await harness.later()
        asked.append(two.model.asked + three.model.asked)

    wrong = {}
    for moment, harness, _ in played_at(moments(0.02, 0.01, 20), channel, tmp_path, script):
        shown = [plain(text) for text in harness.chat.messages.values()]
        if shown != [ANSWER] or asked[-1] != 0:
            wrong[moment] = (asked[-1], shown)
    assert wrong == {}


def test_an_end_that_is_known_is_not_kept_waiting(tmp_path: Path) -> None:
    """Storage is slow to say whether an earlier turn is open, and the stream has ended already."""

    async def script(harness: TurnHarness) -> None:
        one, two = harness.worker(0.3), harness.worker()
        asking = asyncio.create_task(one.ask())
        while not harness.chat.messages:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(0.01)
        one.wire.cut()
        await asyncio.sleep(LEASE + 2)
        message, start = await harness.take_message(), harness.store.start

        async def slow(record: Any) -> Any:
            await asyncio.sleep(5)
            return await start(record)

        harness.store.start = slow  # type: ignore[method-assign,assignment]
        async with ends_with(asking):
            await two.resume(message)

    harness, _ = played(COPILOT, tmp_path, script)
    assert list(harness.chat.messages.values()) == [ANSWER], "the whole answer stands there twice"
