"""Answers in several messages, refused parts and long waits, across workers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from app.agent.events import Answer, TextAdded
from app.bot.channel import TEAMS_GROUP, TEAMS_PERSONAL
from app.bot.connector.send_errors import MessageTooLargeError, NotDeliveredError
from app.bot.replies.parts_delivery import SENT_AGAIN
from app.bot.replies.stream_reply import StreamReply
from app.models.model import Completed, TextDelta
from app.turns.checkpoint import Checkpoint
from app.turns.reply import UndeliveredError
from tests.fakes.chat import Wire, ends_with
from tests.fakes.turn_harness import ANSWER, TurnHarness, Worker, moments, plain, played, played_at, vanishing


def too_large(activity: dict[str, Any], harness: TurnHarness) -> Exception | None:
    """Of the final message of a stream."""
    ended = any(stream.ended for stream in harness.chat.streams.values())
    final = activity["type"] == "message" and not ended
    return MessageTooLargeError("size") if final and len(activity["text"]) > 60 else None


def test_an_answer_that_was_too_large_is_whole_when_the_worker_vanishes_between_its_parts(tmp_path: Path) -> None:
    async def script(harness: TurnHarness, moment: float) -> None:
        harness.chat.refuses = lambda activity: too_large(activity, harness)
        await vanishing(harness, moment, 1.0)

    wrong = {}
    limited = replace(TEAMS_PERSONAL, text_limit_utf16=80)
    for moment, harness, _ in played_at(moments(1.0, 0.02, 60), limited, tmp_path, script):
        said = " ".join(plain(text) for text in harness.chat.messages.values() if SENT_AGAIN.english not in text)
        if not set(ANSWER.split()) <= set(said.split()) and not any(
            SENT_AGAIN.english in text for text in harness.chat.messages.values()
        ):
            wrong[moment] = list(harness.chat.messages.values())
    assert wrong == {}


def test_the_second_half_of_an_answer_is_not_lost_with_a_worker_whose_first_try_was_too_large(tmp_path: Path) -> None:
    """On the level of the reply: the worker vanishes after the stream's end was taken, before the rest is noted."""

    async def script(harness: TurnHarness) -> None:
        kept: list[Checkpoint] = []
        wire, clock = Wire(), asyncio.get_running_loop().time
        channel = replace(TEAMS_PERSONAL, text_limit_utf16=80)
        rules = cast(Any, channel.streaming)

        async def keep(checkpoint: Checkpoint) -> None:
            if any(stream.ended for stream in harness.chat.streams.values()):
                wire.cut()
                await asyncio.Event().wait()
            kept.append(checkpoint)

        harness.chat.refuses = lambda activity: too_large(activity, harness)
        first = StreamReply(harness.chat.through(wire), channel, rules, clock=clock)
        await first.begin(keep)
        await first.write(TextAdded(ANSWER[:20]))
        await asyncio.sleep(0.5)
        await first.write(Answer(ANSWER))
        ending = asyncio.create_task(first.finish())
        await asyncio.sleep(30)
        async with ends_with(ending):
            await first.abandon()
        second = StreamReply(harness.chat.through(Wire()), channel, rules, kept[-1], clock=clock)
        await second.begin()
        await second.write(cast(Any, kept[-1].end))
        await second.finish()

    harness, _ = played(TEAMS_PERSONAL, tmp_path, script)
    said = " ".join(harness.chat.messages.values())
    assert said.split() == ANSWER.split(), f"of the answer there stands: {said}"


def test_a_long_answer_continues_where_the_channel_went_away(tmp_path: Path) -> None:
    asked: list[int] = []

    async def script(harness: TurnHarness) -> None:
        async def words(_: Any) -> Any:
            asked.append(1)
            for number in range(60):
                yield TextDelta(f"Line {number}. " + "All of it is looked at once more. " * 30 + "\n\n")
            yield Completed()

        loop = asyncio.get_running_loop()
        start = loop.time()

        def away(activity: dict[str, Any]) -> Exception | None:
            is_third = activity["type"] == "message" and len(harness.chat.messages) == 2
            return NotDeliveredError("away") if is_third and loop.time() < start + 40 else None

        harness.chat.refuses = away
        worker = harness.worker()
        worker.model.stream = words  # type: ignore[method-assign,assignment]
        make = harness.worker

        def other(seconds: float = 4.0) -> Worker:
            made = make(seconds)
            made.model.stream = words  # type: ignore[method-assign,assignment]
            return made

        harness.worker = other  # type: ignore[method-assign]
        await worker.ask()
        await harness.later()

    harness, _ = played(TEAMS_GROUP, tmp_path, script)
    first_lines = [text for text in harness.chat.messages.values() if "Line 0." in text]
    assert len(first_lines) == 1, f"the beginning of the answer stands there {len(first_lines)} times"
    assert len(asked) == 1


def test_a_turn_that_waits_does_not_hold_the_function_longer_than_its_host_allows(tmp_path: Path) -> None:
    """host.json: `functionTimeout` 10 minutes, after which the host ends the worker with all that runs there."""
    longest = 0.0

    async def script(harness: TurnHarness) -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        back_at, take = loop.time() + 900, harness.chat.take

        async def away(activity: dict[str, Any]) -> str | None:
            if loop.time() < back_at and activity["type"] == "message":
                # The connector's patience.
                await asyncio.sleep(30)
                raise NotDeliveredError("HTTP 412")
            return await take(activity)

        harness.chat.take = away  # type: ignore[method-assign]
        worker = harness.worker()
        one = asyncio.create_task(worker.ask("How?", "1"))
        await asyncio.sleep(1)
        two = asyncio.create_task(worker.ask("And?", "2"))
        await asyncio.sleep(2)
        two.cancel()
        await asyncio.wait([two])
        resume = Worker.resume

        async def timed(self: Worker, body: str) -> None:
            nonlocal longest
            started = loop.time()
            try:
                await resume(self, body)
            except UndeliveredError:
                pass
            finally:
                longest = max(longest, loop.time() - started)

        Worker.resume = timed  # type: ignore[method-assign]
        try:
            await harness.later(3000)
        finally:
            Worker.resume = resume  # type: ignore[method-assign]
        await asyncio.wait([one])

    played(TEAMS_GROUP, tmp_path, script)
    assert longest < 600, f"one call of the function takes {longest:.0f} s"
