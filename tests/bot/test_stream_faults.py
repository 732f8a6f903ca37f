"""What a person sees when a channel that streams refuses, loses or delays what is sent to it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from app.agent.events import Answer, TextAdded
from app.bot.channel import COPILOT, TEAMS_PERSONAL, Channel
from app.bot.connector.send_errors import (
    DeliveryUnknownError,
    MessageTooLargeError,
    NotDeliveredError,
    SendError,
    SendRefusedError,
    StreamContentRefusedError,
    StreamNotAllowedError,
    StreamTimeLimitError,
    ThrottledError,
)
from app.bot.replies.activity_sender import Json
from app.bot.replies.stream_reply import StreamReply
from tests.bot.test_stream_reply import WORDS, answer, converse
from tests.fakes.channel import FakeChannel, Sent

LONG = "\n\n".join(f"Paragraph {n}. " + "x" * 500 for n in range(100))
CODE = "```py\n" + "\n".join(f"x{n} = {n}" for n in range(150)) + "\n```"


@dataclass
class FaultyChannel(FakeChannel):
    """What `refuses` picks fails with `fault`, `times` times. `arrives`: the channel takes it all the same."""

    refuses: Callable[[Sent], bool] = lambda sent: False
    fault: SendError = field(default_factory=lambda: SendRefusedError("x"))
    times: int = 10_000
    arrives: bool = False
    attempt_count: list[Sent] = field(default_factory=list)

    async def _take(self, method: str, activity: Json) -> str | None:
        sent = Sent(asyncio.get_running_loop().time(), method, activity)
        self.attempt_count.append(sent)
        if not self.times or not self.refuses(sent):
            return await super()._take(method, activity)
        self.times -= 1
        if self.arrives:
            await super()._take(method, activity)
        else:
            await asyncio.sleep(self.latency)
        raise self.fault


def is_final(sent: Sent) -> bool:
    return sent.kind == "final"


async def line_by_line(reply: StreamReply, text: str = CODE) -> None:
    for line in text.splitlines(keepends=True):
        await reply.write(TextAdded(line))
        await asyncio.sleep(1)
    await reply.write(Answer(text))
    await reply.finish()


def text_in(fake: FakeChannel) -> str:
    return "\n\n".join(part.strip() for part in fake.visible)


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, COPILOT])
@pytest.mark.parametrize(
    "fault",
    [
        DeliveryUnknownError("x"), NotDeliveredError("x"), ThrottledError("x"), MessageTooLargeError("x"),
        StreamNotAllowedError("x"),
        StreamContentRefusedError("x"), SendRefusedError("x"), StreamTimeLimitError("x"),
    ],
)  # fmt: skip
def test_a_stream_that_cannot_be_closed_in_time_does_not_cost_the_answer(fault: SendError, channel: Channel) -> None:
    fake = FaultyChannel(refuses=is_final, fault=fault, times=1, stream_lives=115)
    converse(lambda reply: answer(reply, WORDS, seconds=240), fake, channel)
    assert fake.visible[-1].endswith("word59")


@pytest.mark.parametrize("fault", [SendRefusedError("400"), MessageTooLargeError("403"), StreamNotAllowedError("403")])
def test_an_end_that_the_stream_refuses_comes_as_a_message(fault: SendError) -> None:
    fake = FaultyChannel(refuses=is_final, fault=fault)
    converse(lambda reply: answer(reply, WORDS, seconds=20), fake)
    assert fake.visible == [WORDS]


def test_parts_after_an_end_that_arrived_without_an_answer_are_not_lost() -> None:
    fake = FaultyChannel(refuses=is_final, fault=DeliveryUnknownError("x"), times=1, arrives=True)
    converse(lambda reply: answer(reply, LONG, seconds=5), fake)
    assert text_in(fake) == LONG


def test_parts_after_the_stream_that_are_too_large_come_in_smaller_ones() -> None:
    fake = FaultyChannel(
        refuses=lambda sent: sent.kind == "message" and len(sent.text) > 9000, fault=MessageTooLargeError("x")
    )
    converse(lambda reply: answer(reply, LONG, seconds=5), fake)
    assert text_in(fake) == LONG


def test_an_update_that_is_too_large_still_leaves_no_stream_open() -> None:
    fake = FaultyChannel(
        refuses=lambda sent: sent.kind == "streaming" and len(sent.text) > 100, fault=MessageTooLargeError("x")
    )
    converse(lambda reply: answer(reply, WORDS, seconds=20), fake)
    assert fake.sent[-1].kind == "final"
    assert fake.visible == [WORDS]


def test_a_first_update_that_may_have_arrived_is_not_sent_again() -> None:
    fake = FaultyChannel(
        refuses=lambda sent: sent.stream is not None, fault=DeliveryUnknownError("x"), times=1, arrives=True
    )
    converse(lambda reply: answer(reply, WORDS, seconds=5), fake)
    assert [sent.kind for sent in fake.attempt_count if sent.kind != "typing"] == ["streaming", "message"]


def test_a_refused_update_is_not_sent_every_second() -> None:
    fake = FaultyChannel(refuses=lambda sent: sent.kind != "message", fault=SendRefusedError("404"))
    converse(lambda reply: answer(reply, WORDS, seconds=60), fake)
    assert [sent.kind for sent in fake.attempt_count] == ["typing", "streaming", "typing", "message"]
    assert fake.visible == [WORDS]


@pytest.mark.parametrize("kind", ["informative", "streaming"])
def test_a_channel_that_asks_for_an_hours_pause_gets_the_end_all_the_same(kind: str) -> None:
    fake = FaultyChannel(refuses=lambda sent: sent.kind == kind, fault=ThrottledError("x", 3600), times=1)
    converse(lambda reply: answer(reply, WORDS, seconds=10), fake)
    assert fake.sent[-1].at - 1000 < 45
    assert fake.visible == [WORDS]


def test_a_channel_that_asks_for_a_pause_gets_it() -> None:
    fake = FaultyChannel(refuses=lambda sent: sent.kind == "streaming", fault=ThrottledError("x", 8), times=1)
    converse(lambda reply: answer(reply, WORDS, seconds=6), fake)
    first_try = next(sent for sent in fake.attempt_count if sent.kind == "streaming")
    assert fake.sent[1].at - first_try.at >= 8


@pytest.mark.parametrize(
    "pieces", [["Look:\n``", "`", "py\nx = 1\n", "```\n"], ["a | b\n--", "-|", "---\n", "1 | 2\n"]]
)
def test_an_update_never_takes_back_what_was_shown(pieces: list[str]) -> None:
    async def script(reply: StreamReply) -> None:
        for piece in pieces:
            await reply.write(TextAdded(piece))
            await asyncio.sleep(3)
        await reply.write(Answer("".join(pieces)))
        await reply.finish()

    fake = FaultyChannel()
    converse(script, fake)
    texts = [sent.text for sent in fake.attempt_count if sent.kind in ("streaming", "final")]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert fake.visible == ["".join(pieces)]


def test_an_update_that_arrived_without_an_answer_is_part_of_all_that_follow() -> None:
    async def script(reply: StreamReply) -> None:
        for piece in ("Look:\n``", "`py"):
            await reply.write(TextAdded(piece))
            await asyncio.sleep(3)
        await reply.write(Answer("Look:\n```py"))
        await reply.finish()

    fake = FaultyChannel(refuses=lambda sent: sent.kind == "streaming", fault=DeliveryUnknownError("x"), times=1)
    converse(script, fake)
    with_text = [sent for sent in fake.attempt_count if sent.kind in ("streaming", "message")]
    unnoticed, whole = (sent.text for sent in with_text)
    assert unnoticed.strip()
    assert whole.startswith(unnoticed)


def test_a_message_that_teams_edits_has_its_code_closed_and_says_that_it_is_not_finished() -> None:
    fake = converse(line_by_line)
    assert fake.visible == [CODE]
    unfinished = fake.of_kind("final", "edit")[:-1]
    assert unfinished
    assert all(sent.text.count("```") == 2 for sent in unfinished)
    assert all(sent.text.endswith("still working on it…*") for sent in unfinished)


def test_in_copilot_code_continues_as_code_after_the_channel_ended_the_stream() -> None:
    fake = converse(line_by_line, FakeChannel(stream_lives=40), COPILOT)
    assert fake.visible[-1].startswith("```py\n")
    assert fake.visible[-1].count("```") == 2


def test_in_copilot_a_promised_message_comes_even_if_there_is_no_more_to_say() -> None:
    async def script(reply: StreamReply) -> None:
        await reply.write(TextAdded("All of it."))
        await asyncio.sleep(130)
        await reply.write(Answer("All of it."))
        await reply.finish()

    first, second = converse(script, channel=COPILOT).visible
    assert "continues in the next message" in first
    assert second == "*(That was the whole answer.)*"
