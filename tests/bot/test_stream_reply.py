"""What a person sees in a channel that streams, second by second, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.agent.events import Answer, Failure, Status, TextAdded, ToolStarted
from app.agent.user_messages import THINKING
from app.bot.channel import COPILOT, TEAMS_PERSONAL, Channel
from app.bot.connector.send_errors import (
    ChannelUnreachableError,
    MessageTooLargeError,
    SendError,
    StreamNotAllowedError,
    ThrottledError,
)
from app.bot.replies.stream_reply import StreamReply
from app.content.citation import Citation
from app.turns.reply import SaveCheckpoint, discard_checkpoint
from tests.fakes.channel import FakeChannel
from tests.fakes.virtual_time import VirtualTimeLoop

Script = Callable[[StreamReply], Awaitable[None]]


def converse(
    script: Script,
    fake: FakeChannel | None = None,
    channel: Channel = TEAMS_PERSONAL,
    *,
    save_checkpoint: SaveCheckpoint = discard_checkpoint,
    waits: bool = False,
) -> FakeChannel:
    """`waits`: the script writes the status that says that the work begins."""
    fake = fake or FakeChannel()
    assert channel.streaming is not None
    rules = channel.streaming

    async def run() -> None:
        reply = StreamReply(fake, channel, rules)
        await reply.begin(save_checkpoint)
        if not waits:
            await reply.write(Status(THINKING.english))
        try:
            await script(reply)
        finally:
            await reply.abandon()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())
    return fake


async def answer(reply: StreamReply, text: str, *, seconds: float, citations: tuple[Citation, ...] = ()) -> None:
    """Types `text` word by word over `seconds`."""
    words = text.split(" ")
    for number, word in enumerate(words):
        await asyncio.sleep(seconds / len(words))
        await reply.write(TextAdded(word if number == 0 else " " + word))
    await reply.write(Answer(text, citations))
    await reply.finish()


WORDS = " ".join(f"word{n}" for n in range(60))


def test_the_text_grows_once_a_second_and_ends_in_one_message() -> None:
    fake = converse(lambda reply: answer(reply, WORDS, seconds=10))
    assert min(fake.gaps()) >= 0.999
    assert 8 <= len(fake.of_kind("streaming")) <= 10
    assert fake.visible == [WORDS]


def test_the_final_message_is_sent_at_once_when_nothing_was_sent_for_a_while() -> None:
    async def script(reply: StreamReply) -> None:
        await asyncio.sleep(7.3)
        await reply.write(Answer("Late but here"))
        await reply.finish()

    fake = converse(script)
    assert fake.sent[-1].at - fake.start == pytest.approx(7.3)


def test_a_models_answer_has_label_feedback_and_only_the_citations_it_uses() -> None:
    citations = (Citation(1, "Handbook", "https://example.com/h", "quote"), Citation(2, "Wiki"))
    fake = converse(lambda reply: answer(reply, "See [1] and [2]", seconds=1, citations=citations))
    final = fake.sent[-1].activity
    message = next(e for e in final["entities"] if e["type"] == "https://schema.org/Message")
    assert message["additionalType"] == ["AIGeneratedContent"]
    assert [claim["position"] for claim in message["citation"]] == [1, 2]
    assert final["channelData"]["feedbackLoop"] == {"type": "default"}


def test_the_programs_own_words_have_no_ai_label() -> None:
    async def script(reply: StreamReply) -> None:
        await reply.write(Answer("Help", by_model=False))
        await reply.finish()

    fake = converse(script)
    assert fake.visible == ["Help"]
    assert "entities" not in fake.sent[-1].activity
    assert "channelData" not in fake.sent[-1].activity


def test_a_tool_at_work_is_named_while_there_is_no_text_yet() -> None:
    async def script(reply: StreamReply) -> None:
        await reply.write(ToolStarted("1", "current_time"))
        await asyncio.sleep(3)
        await reply.write(Answer("Noon"))
        await reply.finish()

    fake = converse(script)
    assert "Using current time…" in [sent.text for sent in fake.of_kind("informative")]


def test_half_a_table_row_and_half_a_line_of_code_are_not_shown() -> None:
    async def script(reply: StreamReply) -> None:
        for piece in ("Look:\n\n| a | b |\n|---|---|\n| 1 ", "| 2 |\n\n```py\nx = ", "1\n```\nDone"):
            await reply.write(TextAdded(piece))
            await asyncio.sleep(3)
        await reply.write(Answer("Look:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx = 1\n```\nDone"))
        await reply.finish()

    texts = [sent.text for sent in converse(script).of_kind("streaming")]
    assert texts[0] == "Look:\n\n"
    assert texts[1] == "Look:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"


def test_after_stop_nothing_more_is_sent() -> None:
    stopped: list[str] = []

    async def script(reply: StreamReply) -> None:
        reply.when_stopped(lambda: stopped.append(reply.shown))
        for n in range(40):
            await reply.write(TextAdded(f"part{n} "))
            await asyncio.sleep(0.5)
        assert reply.stopped

    fake = converse(script, FakeChannel(stop_at=1005.5))
    assert stopped == [fake.of_kind("streaming")[-1].text]
    assert max(sent.at for sent in fake.sent) < 1005.5


def test_in_teams_an_answer_of_four_minutes_is_finished_by_editing_the_same_message() -> None:
    fake = converse(lambda reply: answer(reply, WORDS, seconds=240))
    assert fake.visible == [WORDS]
    assert fake.of_kind("edit")[-1].activity["id"] == "stream-1"
    assert fake.of_kind("edit")[-1].activity["channelData"]["feedbackLoop"]
    assert fake.of_kind("final")[0].at - fake.opened_at <= 110.1


@pytest.mark.parametrize("by_model", [True, False])
def test_an_unfinished_message_has_an_ai_label_if_a_model_wrote_in_it(by_model: bool) -> None:
    async def script(reply: StreamReply) -> None:
        await reply.write(TextAdded("First words.", by_model))
        await asyncio.sleep(130)
        await reply.write(TextAdded(" More of them.", by_model))
        await asyncio.sleep(30)

    unfinished = converse(script).of_kind("final", "edit")
    assert [sent.method for sent in unfinished] == ["POST", "PUT"]
    for sent in unfinished:
        labels = [entity for entity in sent.activity.get("entities", ()) if "additionalType" in entity]
        assert len(labels) == by_model, sent.text


def test_when_teams_ends_the_stream_by_itself_the_answer_is_not_lost() -> None:
    fake = converse(lambda reply: answer(reply, WORDS, seconds=100), FakeChannel(stream_lives=60))
    assert fake.visible == [WORDS]
    assert fake.of_kind("final") == []


def test_in_copilot_an_answer_of_four_minutes_continues_in_a_new_message() -> None:
    fake = converse(lambda reply: answer(reply, WORDS, seconds=240), channel=COPILOT)
    first, second = fake.visible
    assert fake.of_kind("edit") == []
    assert fake.of_kind("final")[0].at - fake.opened_at <= 105.1
    shown, _, notice = first.partition("\n\n*(")
    assert notice
    assert (shown + second).split() == WORDS.split()
    assert "channelData" not in fake.sent[-1].activity


def test_in_copilot_code_that_continues_in_a_new_message_is_code_in_both() -> None:
    code = "```py\n" + "\n".join(f"x{n} = {n}" for n in range(200)) + "\n```"

    async def script(reply: StreamReply) -> None:
        for line in code.splitlines(keepends=True):
            await reply.write(TextAdded(line))
            await asyncio.sleep(1)
        await reply.write(Answer(code))
        await reply.finish()

    first, second = converse(script, channel=COPILOT).visible
    assert first.count("```") == 2
    assert second.count("```") == 2
    assert second.startswith("```py\n")


def test_copilot_is_never_left_silent_for_more_than_35_seconds() -> None:
    async def script(reply: StreamReply) -> None:
        await asyncio.sleep(50)
        await reply.write(TextAdded("Almost"))
        await asyncio.sleep(50)
        await reply.write(Answer("Almost there"))
        await reply.finish()

    fake = converse(script, channel=COPILOT)
    assert max(fake.gaps()) <= 35.1
    assert fake.visible == ["Almost there"]


def test_an_answer_beyond_the_size_limit_comes_in_whole_parts() -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "x" * 500 for n in range(100))
    fake = converse(lambda reply: answer(reply, text, seconds=20))
    assert len(fake.visible) == 3
    assert "\n\n".join(part.strip() for part in fake.visible) == text
    assert all(len(part) <= TEAMS_PERSONAL.text_limit_utf16 for part in fake.visible)
    assert "channelData" in fake.sent[-1].activity
    assert "channelData" not in fake.of_kind("final")[0].activity


def test_where_streaming_is_not_allowed_the_answer_comes_as_one_message() -> None:
    fake = converse(
        lambda reply: answer(reply, WORDS, seconds=5),
        FakeChannel(faults=[None, StreamNotAllowedError("Content stream is not allowed")]),
    )
    assert [sent.kind for sent in fake.sent] == ["typing", "typing", "typing", "message"]
    assert fake.visible == [WORDS]


@pytest.mark.parametrize("fault", [ThrottledError("slow down", 3), ChannelUnreachableError("gone")])
@pytest.mark.parametrize("position", range(5))
def test_an_update_that_fails_costs_nothing_but_that_update(fault: SendError, position: int) -> None:
    fake = converse(lambda reply: answer(reply, WORDS, seconds=10), FakeChannel(faults=[None] * position + [fault]))
    assert fake.visible == [WORDS]
    assert min(fake.gaps()) >= 0.999


def test_a_final_message_found_too_large_is_sent_in_smaller_parts() -> None:
    text = "\n\n".join(f"Paragraph {n}." for n in range(900))
    fake = converse(
        lambda reply: answer(reply, text, seconds=0.5),
        FakeChannel(faults=[None, None, MessageTooLargeError("Message size too large")]),
    )
    assert len(fake.visible) == 2
    assert "\n\n".join(part.strip() for part in fake.visible) == text


def test_a_failure_keeps_what_was_shown_and_says_what_to_do() -> None:
    async def script(reply: StreamReply) -> None:
        await reply.write(TextAdded("Half an ans"))
        await asyncio.sleep(3)
        await reply.write(Failure("Please ask again.", "e12", "Half an ans"))
        await reply.finish()

    fake = converse(script)
    assert fake.visible == ["Half an ans\n\n⚠️ Please ask again. (error id: e12)"]


def test_a_reply_can_be_abandoned_at_any_time() -> None:
    async def script(reply: StreamReply) -> None:
        await reply.write(TextAdded("never"))
        await reply.abandon()
        await asyncio.sleep(100)

    assert len(converse(script).sent) <= 1
