"""How soon a person sees something in a channel that streams, and how soon all of it; in virtual time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence

import pytest

from app.agent.events import Answer, Status, TextAdded, ToolStarted
from app.agent.user_messages import THINKING
from app.bot.channel import COPILOT, TEAMS_PERSONAL, Channel
from app.bot.connector.send_errors import ChannelUnreachableError, SendError, StreamNotAllowedError, ThrottledError
from app.bot.replies.stream_reply import StreamReply
from app.content.citation import Citation
from app.turns.checkpoint import Checkpoint
from app.turns.reply import CheckpointError
from tests.bot.test_stream_reply import WORDS, answer, converse
from tests.fakes.channel import FakeChannel, Sent

AT_ONCE = 0.06
"""Seconds that may pass until a person sees what there is."""
STREAMS = [TEAMS_PERSONAL, COPILOT]


def gaps(sent: Sequence[Sent]) -> Iterator[float]:
    return (later.at - earlier.at for earlier, later in itertools.pairwise(sent))


async def words(reply: StreamReply, *, first_after: float, then_every: float, count: int) -> None:
    """The first word after `first_after` seconds."""
    await asyncio.sleep(first_after)
    said = [f"word{number} " for number in range(count)]
    for number, word in enumerate(said):
        await asyncio.sleep(then_every if number else 0)
        await reply.write(TextAdded(word))
    await reply.write(Answer("".join(said)))
    await reply.finish()


def test_typing_is_shown_at_once_and_opens_no_stream() -> None:
    fake = converse(lambda reply: answer(reply, "Hello", seconds=0.8))
    assert (fake.sent[0].kind, fake.sent[0].at) == ("typing", 1000.0)
    assert fake.sent[0].stream is None


@pytest.mark.parametrize("channel", STREAMS, ids=lambda channel: channel.name)
@pytest.mark.parametrize("first_after", [0.1, 0.35, 0.7, 0.9])
def test_first_words_within_a_second_are_shown_at_once(channel: Channel, first_after: float) -> None:
    fake = converse(lambda reply: words(reply, first_after=first_after, then_every=0.2, count=20), channel=channel)
    first = next(sent for sent in fake.sent if sent.stream)
    assert first.kind == "streaming"
    assert first_after <= first.at - 1000 <= first_after + AT_ONCE


@pytest.mark.parametrize("channel", STREAMS, ids=lambda channel: channel.name)
def test_after_a_second_of_silence_the_stream_begins_with_what_is_being_done(channel: Channel) -> None:
    async def script(reply: StreamReply) -> None:
        await asyncio.sleep(0.4)
        await reply.write(ToolStarted("1", "current_time"))
        await words(reply, first_after=5, then_every=0.2, count=20)

    fake = converse(script, channel=channel)
    first = next(sent for sent in fake.sent if sent.stream)
    assert (first.kind, first.text) == ("informative", "Using current time…")
    assert first.at - 1000 == pytest.approx(1.0, abs=0.01)
    assert fake.of_kind("streaming")[0].at - 1000 == pytest.approx(5.4, abs=AT_ONCE)


@pytest.mark.parametrize("channel", STREAMS, ids=lambda channel: channel.name)
@pytest.mark.parametrize(("first_after", "then_every"), [(0.0, 0.01), (0.2, 0.01), (0.26, 0.0), (0.9, 0.01)])
def test_an_answer_that_ends_before_anything_was_streamed_is_one_message_at_once(
    channel: Channel, first_after: float, then_every: float
) -> None:
    ended = 1000 + first_after + 4 * then_every
    fake = converse(
        lambda reply: words(reply, first_after=first_after, then_every=then_every, count=5), channel=channel
    )
    assert [sent.kind for sent in fake.sent] == ["typing", "message"]
    assert fake.sent[-1].at - ended <= AT_ONCE


def test_such_a_message_has_label_feedback_and_citations_like_the_end_of_a_stream() -> None:
    cited = Answer("See [1].", (Citation(1, "Handbook", "https://example.com/h"), Citation(2, "Wiki")))

    async def script(reply: StreamReply) -> None:
        await reply.write(cited)
        await reply.finish()

    (message,) = converse(script).of_kind("message")
    (entity,) = message.activity["entities"]
    assert entity["additionalType"] == ["AIGeneratedContent"]
    assert [claim["position"] for claim in entity["citation"]] == [1]
    assert message.activity["channelData"]["feedbackLoop"] == {"type": "default"}


@pytest.mark.parametrize("ends_after", [0.2, 0.8, 1.3, 2.0, 2.04, 3.9, 4.4])
def test_the_end_waits_for_the_pace_of_the_channel_and_for_nothing_else(ends_after: float) -> None:
    count = 20
    fake = converse(lambda reply: words(reply, first_after=0.1, then_every=ends_after / count, count=count))
    ended = 1000 + 0.1 + ends_after * (count - 1) / count
    last, final = [sent for sent in fake.sent if sent.stream][-2:]
    assert final.kind == "final"
    allowed = max(ended, last.answered + 1.0)
    assert allowed - 0.001 <= final.at <= allowed + AT_ONCE


def test_an_end_that_comes_while_a_checkpoint_is_saved_does_not_wait_for_its_update() -> None:
    async def save(_: Checkpoint) -> None:
        await asyncio.sleep(0.1)

    async def script(reply: StreamReply) -> None:
        await reply.write(TextAdded("Hello "))
        await asyncio.sleep(0.1)
        await reply.write(Answer("Hello there"))
        await reply.finish()

    assert [sent.kind for sent in converse(script, save_checkpoint=save).sent] == ["typing", "message"]


@pytest.mark.parametrize("after", [0.01, 0.02, 0.03, 0.04, 0.045, 0.049, 0.055, 0.07, 0.1])
def test_words_that_come_while_the_stream_is_opened_are_shown_though_the_model_then_pauses(after: float) -> None:
    async def save(_: Checkpoint) -> None:
        await asyncio.sleep(0.004)

    async def script(reply: StreamReply) -> None:
        await asyncio.sleep(0.2)
        await reply.write(TextAdded("Hello "))
        await asyncio.sleep(after)
        await reply.write(TextAdded("there "))
        await asyncio.sleep(20)

    fake = converse(script, save_checkpoint=save)
    assert fake.sent[-1].text == "Hello there "
    assert fake.sent[-1].at - 1000 < 1.4


def test_a_turn_that_waits_for_another_shows_typing_and_opens_no_stream() -> None:
    fake = FakeChannel()

    async def script(reply: StreamReply) -> None:
        await asyncio.sleep(150)
        assert {sent.kind for sent in fake.sent} == {"typing"}
        await reply.write(Status(THINKING.english))
        await answer(reply, WORDS, seconds=100)

    converse(script, fake, waits=True)
    assert max(gaps(fake.of_kind("typing"))) < 4.2
    assert fake.sent[-1].kind == "final", "the time in line was counted as the stream's"
    assert fake.visible == [WORDS]


@pytest.mark.parametrize("fault", [ThrottledError("429", 2), ChannelUnreachableError("gone")])
def test_a_typing_activity_that_fails_is_tried_again(fault: SendError) -> None:
    fake = converse(lambda reply: asyncio.sleep(9), FakeChannel(faults=[fault]), waits=True)
    assert [sent.at - 1000 for sent in fake.sent] == [pytest.approx(4, abs=0.2), pytest.approx(8, abs=0.2)]


def test_a_channel_that_is_slow_to_take_a_typing_activity_does_not_delay_the_answer() -> None:
    class Slow(FakeChannel):
        async def post(self, activity: dict[str, object], *, retry: bool = True) -> str | None:
            if activity == {"type": "typing"}:
                await asyncio.sleep(10)
            return await super().post(activity, retry=retry)

    async def script(reply: StreamReply) -> None:
        await reply.write(Answer("Hello"))
        await reply.finish()

    (message,) = converse(script, Slow()).sent
    assert message.at - 1000 <= AT_ONCE


def test_where_no_stream_can_be_opened_typing_is_shown_until_the_answer() -> None:
    fake = converse(
        lambda reply: answer(reply, WORDS, seconds=20), FakeChannel(faults=[None, StreamNotAllowedError("not allowed")])
    )
    assert {sent.kind for sent in fake.sent[:-1]} == {"typing"}
    assert max(gaps(fake.sent)) < 4.5


def test_words_whose_checkpoint_cannot_be_saved_are_shown_later() -> None:
    refusals = [CheckpointError(), CheckpointError()]

    async def save(_: Checkpoint) -> None:
        if refusals:
            raise refusals.pop()

    fake = converse(lambda reply: answer(reply, WORDS, seconds=10), save_checkpoint=save)
    assert fake.opened_at - 1000 > 2
    assert fake.visible == [WORDS]
