"""What a person sees where nothing streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from app.agent.events import Answer, TextAdded
from app.bot.channel import EXPECT_REPLIES, TEAMS_GROUP, Channel
from app.bot.connector.send_errors import ChannelUnreachableError, MessageTooLargeError
from app.bot.replies.activity_sender import ActivitySender, BufferedSender
from app.bot.replies.message_reply import MessageReply
from tests.fakes.channel import FakeChannel
from tests.fakes.virtual_time import VirtualTimeLoop


def converse(
    script: Callable[[MessageReply], Awaitable[None]], sender: ActivitySender, channel: Channel = TEAMS_GROUP
) -> None:
    async def run() -> None:
        reply = MessageReply(sender, channel)
        await reply.begin()
        try:
            await script(reply)
        finally:
            await reply.abandon()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


async def slowly(reply: MessageReply) -> None:
    await asyncio.sleep(10)
    await reply.write(TextAdded("Done"))
    await reply.write(Answer("Done"))
    await reply.finish()


def test_a_group_sees_typing_and_then_one_labelled_message() -> None:
    fake = FakeChannel()
    converse(slowly, fake)
    assert [sent.kind for sent in fake.sent] == ["typing", "typing", "typing", "message"]
    assert fake.sent[0].at == 1000.0
    assert fake.sent[-1].activity["entities"][0]["additionalType"] == ["AIGeneratedContent"]


def test_a_typing_indicator_that_fails_does_not_cost_the_answer() -> None:
    fake = FakeChannel(faults=[ChannelUnreachableError("gone")])
    converse(slowly, fake)
    assert fake.visible == ["Done"]


def test_a_message_found_too_large_comes_in_smaller_parts() -> None:
    text = "\n\n".join(f"Paragraph {n}" for n in range(900))

    async def script(reply: MessageReply) -> None:
        await asyncio.sleep(1)
        await reply.write(Answer(text))
        await reply.finish()

    fake = FakeChannel(faults=[None, MessageTooLargeError("413")])
    converse(script, fake)
    assert "\n\n".join(part.strip() for part in fake.visible) == text


def test_the_response_with_expected_replies_has_the_answer_and_no_typing() -> None:
    replies: list[dict[str, Any]] = []
    converse(slowly, BufferedSender({"conversation": {"id": "c"}}, replies), EXPECT_REPLIES)
    (message,) = replies
    assert message["text"] == "Done"
    assert message["conversation"] == {"id": "c"}
