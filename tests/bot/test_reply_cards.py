"""Where the content blocks of an answer go: in a stream, an edited message, messages of their own; in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.agent.events import Answer, BlockAdded, Failure, TextAdded
from app.bot.channel import COPILOT, EXPECT_REPLIES, OTHER, TEAMS_GROUP, TEAMS_PERSONAL, WEB_CHAT, Channel
from app.bot.connector.send_errors import ChannelUnreachableError, MessageTooLargeError, SendError, SendRefusedError
from app.bot.replies.message_reply import MessageReply
from app.bot.replies.stream_reply import StreamReply
from app.content.blocks import Chart, ChartKind, Column, Image, Point, Series, Table
from app.turns.checkpoint import Checkpoint
from app.turns.reply import UndeliveredError
from tests.content.test_blocks import PIXEL
from tests.fakes.channel import FakeChannel, Sent
from tests.fakes.virtual_time import VirtualTimeLoop

TABLE = Table((Column("region"),), tuple((f"Porto {n}",) for n in range(30)))
MARKDOWN = "\n".join(["| region |", "| --- |", *(f"| Porto {n} |" for n in range(30))])
EARLY = replace(TEAMS_PERSONAL, streaming=replace(TEAMS_PERSONAL.streaming, closes_after_seconds=2.0))  # type: ignore[type-var]


@dataclass
class PickyChannel(FakeChannel):
    """Refuses cards with `refusal`, or any activity above `limit` characters of text and of card."""

    refusal: SendError | None = None
    limit: int = 10**9

    async def _take(self, method: str, activity: dict[str, Any]) -> str | None:
        if self.refusal is not None and "attachments" in activity:
            raise self.refusal
        if len(str(activity.get("text", ""))) + len(str(activity.get("attachments", ""))) > self.limit:
            raise MessageTooLargeError("413")
        return await super()._take(method, activity)


def answered(
    channel: Channel,
    fake: FakeChannel,
    end: Answer | Failure,
    checkpoint: Checkpoint | None = None,
    saved: list[Checkpoint] | None = None,
    ids: list[str | None] | None = None,
) -> FakeChannel:
    async def save(progress: Checkpoint) -> None:
        if saved is not None:
            saved.append(progress)

    async def run() -> None:
        begun = checkpoint or Checkpoint()
        rules = channel.streaming
        reply = StreamReply(fake, channel, rules, begun) if rules else MessageReply(fake, channel, begun)
        await reply.begin(save)
        try:
            await reply.write(TextAdded(end.text[:10]))
            await asyncio.sleep(5)
            for block in end.blocks:
                await reply.write(BlockAdded(block))
            await reply.write(TextAdded(end.text[10:]))
            await reply.write(end)
            await reply.finish()
            if ids is not None:
                ids.append(reply.activity_id)
        finally:
            await reply.abandon()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())
    return fake


def rows_on_card(sent: Sent) -> int:
    (card,) = sent.activity["attachments"]
    return len(card["content"]["body"][0]["rows"]) - 1


END = Answer("Sales grew, mostly in Porto.", blocks=(TABLE,))


@pytest.mark.parametrize(
    ("channel", "kind"),
    [(TEAMS_PERSONAL, "final"), (EARLY, "edit"), (TEAMS_GROUP, "message")],
    ids=["stream", "edited", "message"],
)
def test_the_card_comes_with_the_last_message_and_with_no_other(channel: Channel, kind: str) -> None:
    fake = answered(channel, FakeChannel(), END)
    (with_card,) = (sent for sent in fake.sent if "attachments" in sent.activity)
    assert with_card is fake.sent[-1]
    assert (with_card.kind, rows_on_card(with_card)) == (kind, 30)
    assert fake.visible == [END.text]


@pytest.mark.parametrize("channel", [COPILOT, EXPECT_REPLIES, OTHER], ids=lambda channel: channel.name)
def test_a_channel_without_cards_shows_the_table_in_the_text(channel: Channel) -> None:
    fake = answered(channel, FakeChannel(), END)
    assert fake.visible == [f"{END.text}\n\n{MARKDOWN}"]
    assert not any("attachments" in sent.activity for sent in fake.sent)


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, EARLY, TEAMS_GROUP], ids=["stream", "edited", "message"])
def test_a_refused_card_costs_nobody_the_answer_or_the_table(channel: Channel) -> None:
    fake = answered(channel, PickyChannel(refusal=SendRefusedError("400 bad card")), END)
    assert fake.visible == [f"{END.text}\n\n{MARKDOWN}"]


@pytest.mark.parametrize("channel", [TEAMS_PERSONAL, TEAMS_GROUP], ids=["stream", "message"])
def test_a_message_that_its_card_makes_too_large_comes_with_a_smaller_one(channel: Channel) -> None:
    wide = Table(tuple(Column("c" * 100) for _ in range(8)), (("x" * 100,) * 8,) * 30)
    fake = answered(channel, PickyChannel(limit=12_000), replace(END, blocks=(wide,)))
    assert fake.visible == [END.text]
    assert 0 < rows_on_card(fake.sent[-1]) < 15


def test_a_message_that_its_image_makes_too_large_comes_with_the_table() -> None:
    points = tuple(Point(f"r{n}", float(n)) for n in range(3))
    image = Image("", "Sales", PIXEL[:-4].ljust(200_000, "A"))
    chart = Chart(ChartKind.VERTICAL_BAR, (Series("", points),), "Sales", image=image)
    fake = answered(WEB_CHAT, PickyChannel(limit=100_000), replace(END, blocks=(chart,)))
    (attached,) = fake.sent[-1].activity["attachments"]
    assert [element["type"] for element in attached["content"]["body"]] == ["TextBlock", "Table"]


def test_a_refused_card_is_not_tried_again_by_the_next_worker() -> None:
    class ThenGone(PickyChannel):
        async def _take(self, method: str, activity: dict[str, Any]) -> str | None:
            if "| region |" in str(activity.get("text")):
                raise ChannelUnreachableError("gone")
            return await super()._take(method, activity)

    saved: list[Checkpoint] = []
    with pytest.raises(UndeliveredError):
        answered(TEAMS_GROUP, ThenGone(refusal=SendRefusedError("400")), END, saved=saved)
    fake = answered(TEAMS_GROUP, FakeChannel(), END, saved[-1])
    assert fake.visible[-1].startswith(f"{END.text}\n\n{MARKDOWN}")
    assert "attachments" not in fake.sent[-1].activity


def test_the_next_worker_sends_the_card_with_the_part_that_is_missing() -> None:
    saved: list[Checkpoint] = []
    long = replace(END, text="\n\n".join(f"Paragraph {n}" for n in range(2_000)))
    with pytest.raises(UndeliveredError):
        answered(
            TEAMS_GROUP, FakeChannel(faults=[None, None, None, ChannelUnreachableError("gone")]), long, saved=saved
        )
    fake = answered(TEAMS_GROUP, FakeChannel(), long, saved[-1])
    assert rows_on_card(fake.sent[-1]) == 30
    assert len(fake.visible) == 1


@pytest.mark.parametrize(
    ("channel", "activity_id"),
    [
        (TEAMS_PERSONAL, "stream-1"),
        (EARLY, "stream-1"),
        (TEAMS_GROUP, "m-2"),
        (replace(TEAMS_PERSONAL, text_limit_utf16=20), "m-3"),
    ],
    ids=["stream", "edited", "message", "parts after a stream"],
)
def test_a_reply_tells_the_id_of_its_last_message(channel: Channel, activity_id: str) -> None:
    """Feedback names it."""
    ids: list[str | None] = []
    fake = answered(channel, FakeChannel(), END, ids=ids)
    assert ids == [activity_id], [(sent.kind, sent.text) for sent in fake.sent]
