"""The end of a stream when its process stalls, or the stream is closed just then; in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.agent.events import Answer, TextAdded
from app.agent.user_messages import INTERRUPTION_NOTE
from app.bot.channel import COPILOT, TEAMS_PERSONAL, Channel
from app.bot.connector.send_errors import StreamContentRefusedError
from app.bot.replies.stream_reply import StreamReply
from app.turns.checkpoint import Checkpoint
from app.turns.reply import LeaseLostError
from tests.bot.test_stream_reply import converse
from tests.fakes.channel import FakeChannel
from tests.fakes.chat import ends_with
from tests.fakes.turn_harness import ANSWER, TurnHarness, played
from tests.fakes.virtual_time import VirtualTimeLoop


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT], ids=lambda channel: channel.name)
def test_a_process_that_stalls_before_the_end_sends_it_only_if_it_still_has_the_lease(channel: Channel) -> None:
    lease_is_lost = False

    async def save(_: Checkpoint) -> None:
        if lease_is_lost:
            raise LeaseLostError

    async def script(reply: StreamReply) -> None:
        def stall() -> None:
            nonlocal lease_is_lost
            lease_is_lost = True
            loop.advance(45)

        loop = cast(VirtualTimeLoop, asyncio.get_running_loop())
        await reply.write(TextAdded("Hello "))
        await asyncio.sleep(0.3)
        await reply.write(Answer("Hello there"))
        loop.call_later(0.3, stall)
        with pytest.raises(LeaseLostError):
            await reply.finish()

    fake = converse(script, channel=channel, save_checkpoint=save)
    assert [sent.kind for sent in fake.sent] == ["typing", "streaming"]


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT], ids=lambda channel: channel.name)
def test_a_worker_that_continues_a_stream_waits_for_the_interval_first(channel: Channel) -> None:
    fake, saved = FakeChannel(), list[Checkpoint]()
    assert channel.streaming is not None
    rules = channel.streaming

    async def save(checkpoint: Checkpoint) -> None:
        saved.append(checkpoint)

    async def script(first: StreamReply) -> None:
        await first.write(TextAdded("Hello "))
        await asyncio.sleep(0.3)
        await first.abandon()
        second = StreamReply(fake, channel, rules, saved[-1])
        await second.begin()
        await second.write(Answer("Hello there"))
        await second.finish()

    converse(script, fake, channel, save_checkpoint=save)
    assert [sent.kind for sent in fake.sent] == ["typing", "streaming", "final"]
    assert min(fake.gaps()) >= rules.interval_seconds


EARLY = replace(COPILOT, streaming=replace(cast(Any, COPILOT.streaming), closes_after_seconds=2.0))


def kind_of(activity: dict[str, Any]) -> str:
    return next((str(entity["streamType"]) for entity in activity.get("entities", ()) if "streamType" in entity), "")


@pytest.mark.parametrize("frozen", [False, True])
def test_an_answer_is_there_once_though_its_worker_vanishes_while_it_closes_the_stream_early(
    frozen: bool, tmp_path: Path
) -> None:
    """The model ends at the same time; where `frozen`, the channel has refused an update before."""

    async def script(harness: TurnHarness) -> None:
        take, first, updates = harness.chat.take, harness.worker(3.0), itertools.count()

        async def slow_to_close(activity: dict[str, Any]) -> str | None:
            if frozen and kind_of(activity) == "streaming" and next(updates):
                raise StreamContentRefusedError("should contain the previously streamed content")
            taken = await take(activity)
            if kind_of(activity) == "final":
                await asyncio.sleep(1.5)
                first.wire.cut()
            return taken

        harness.chat.take = slow_to_close  # type: ignore[method-assign]
        asking = asyncio.create_task(first.ask())
        async with ends_with(asking):
            await asyncio.sleep(10)
            harness.chat.take = take  # type: ignore[method-assign]
            await harness.later()

    harness, _ = played(EARLY, tmp_path, script)
    said = " ".join(harness.chat.messages.values())
    for note in ("*(The answer continues in the next message.)*", INTERRUPTION_NOTE.english):
        said = said.replace(note, " ")
    assert said.split() == ANSWER.split(), harness.chat.messages
